import type { Detail } from "./entry.js";

const MAX_TEXT = 2_000;
const MAX_WORD = 500;
const MAX_ITEMS = 60;

/**
 * The members of a value that were named as fit to be kept, and nothing else of it: what is not on the list, be it a secret or
 * not, does not get into the log. `plan.id` names a member of a member. Long texts are cut; objects are left out.
 */
export function pick(value: unknown, names: readonly string[]): Detail {
  const picked: Detail = {};
  for (const name of names) {
    const found = name.split(".").reduce<unknown>((at, part) => (at as Record<string, unknown> | null)?.[part], value);
    const kept = small(found);
    if (kept !== undefined) picked[name] = kept;
  }
  return picked;
}

function small(value: unknown): Detail[string] | undefined {
  if (typeof value === "string") return cut(value, MAX_TEXT);
  if (typeof value === "number" || typeof value === "boolean" || value === null) return value;
  if (!Array.isArray(value)) return undefined;
  const words = value.filter((item) => typeof item === "string").map((item: string) => cut(item, MAX_WORD));
  if (words.length <= MAX_ITEMS) return words;
  return [...words.slice(0, MAX_ITEMS), `... ${words.length - MAX_ITEMS} more`];
}

const HALF_CHARACTERS = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** Whole characters only: half of one has no canonical form. */
function cut(text: string, most: number): string {
  const short = text.length <= most ? text : `${text.slice(0, most)}...`;
  return short.replace(HALF_CHARACTERS, "\ufffd");
}
