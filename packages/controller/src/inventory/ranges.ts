/** A name that stands for more than this is a slip of the finger. */
export const MAX_HOSTS = 100_000;

/**
 * The names that `node-[001:200]` stands for, in order. Several ranges in one name are combined, the last one turning
 * fastest; a first number with leading zeros sets the width. Answers what is wrong as a string.
 */
export function expandName(pattern: string): readonly string[] | string {
  const parts = pattern.split(/(\[[^\]]*\])/);
  let names = [""];
  for (const part of parts) {
    const choices = part.startsWith("[") ? expandRange(part) : [part];
    if (typeof choices === "string") return choices;
    if (names.length * choices.length > MAX_HOSTS) return `"${pattern}" stands for more than ${MAX_HOSTS} hosts`;
    names = names.flatMap((name) => choices.map((choice) => name + choice));
  }
  return names;
}

function expandRange(range: string): string[] | string {
  const [, from, to] = /^\[(\d{1,9}):(\d{1,9})\]$/.exec(range) ?? [];
  if (from === undefined || to === undefined) return `"${range}" is no range; write [1:20] or [001:200]`;
  const [first, last] = [Number(from), Number(to)];
  if (last < first) return `the range ${range} ends before it begins`;
  if (last - first >= MAX_HOSTS) return `the range ${range} stands for more than ${MAX_HOSTS} hosts`;
  const width = from.startsWith("0") ? from.length : 0;
  return Array.from({ length: last - first + 1 }, (_, index) => String(first + index).padStart(width, "0"));
}
