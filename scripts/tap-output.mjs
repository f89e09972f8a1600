// What a run of tap wrote down (TAP 14), read for what a person wants to know at its end: how many, which failed, which took long.

/** Lines of a failure's own details that are shown: enough for a diff, too few to bury the next failure. */
const DETAIL_LINES = 24;

/**
 * tap's own summary, the last lines of its output: `# { total: 38, pass: 37, fail: 1 }`. All zero where there is none.
 * @param {string} tapText
 */
export function countsOf(tapText) {
  const summary = /^# \{ (total: .*) \}$/m.exec(tapText.slice(-2_000))?.[1] ?? "";
  const count = (/** @type {string} */ name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
  return { pass: count("pass"), fail: count("fail"), skip: count("skip") + count("todo") };
}

/**
 * Every assertion that failed, as the path to it (`file > subtest > assertion`) and its details. A subtest that failed only because
 * something in it did is not told again.
 * @param {string} tapText
 */
export function failuresOf(tapText) {
  const lines = tapText.split("\n");
  /** @type {{ path: string, details: string[] }[]} */
  const failures = [];
  /** Names of the subtests around a line, by depth. @type {string[]} */
  const around = [];
  /** How many failures there were when the subtest at this depth began. @type {number[]} */
  const before = [];
  for (const [index, line] of lines.entries()) {
    const depth = Math.floor((line.length - line.trimStart().length) / 4);
    // A subtest's comment stands at the depth of what is in it, or one above it: tap writes both.
    const subtest = /^ *# Subtest: (.*)$/.exec(line)?.[1];
    if (subtest !== undefined) {
      around[depth] = subtest;
      before[depth] = failures.length;
      continue;
    }
    const failed = /^ *not ok \d+ - (.*?)(?: # time=[\d.]+m?s)?(?: \{)?$/.exec(line)?.[1];
    if (failed === undefined || / # (?:TODO|SKIP)\b/i.test(failed)) continue;
    const closesSubtest = around[depth] === failed;
    if (closesSubtest && failures.length > (before[depth] ?? 0)) continue;
    const path = [...around.slice(0, depth), failed].filter(Boolean).join(" > ");
    failures.push({ path, details: detailsAt(lines, index + 1) });
  }
  return failures;
}

/**
 * Why tests were skipped, each reason once, with the names of its tests.
 * @param {string} tapText
 */
export function skipsOf(tapText) {
  /** @type {Map<string, string[]>} */
  const skips = new Map();
  for (const [, test = "", reason = ""] of tapText.matchAll(/^ *ok \d+ - (.*?) # SKIP\b ?(.*)$/gim)) {
    skips.set(reason, [...(skips.get(reason) ?? []), test]);
  }
  return [...skips].map(([reason, tests]) => ({ reason, tests }));
}

/**
 * The files that took longest, longest first. Milliseconds.
 * @param {string} tapText
 * @param {number} many
 */
export function slowestOf(tapText, many) {
  const times = [...tapText.matchAll(/^(?:not )?ok \d+ - (\S+) # time=([\d.]+)(m?s)\b/gm)].map(
    ([, file = "", amount, unit]) => ({ file, ms: Number(amount) * (unit === "s" ? 1_000 : 1) }),
  );
  return times.sort((a, b) => b.ms - a.ms).slice(0, many);
}

/**
 * The YAML block that may follow a failed assertion, without its marks.
 * @param {string[]} lines
 * @param {number} from
 */
function detailsAt(lines, from) {
  if (lines[from]?.trim() !== "---") return [];
  const indent = lines[from].length - lines[from].trimStart().length;
  /** @type {string[]} */
  const details = [];
  for (const line of lines.slice(from + 1)) {
    if (line.trim() === "...") break;
    if (details.length === DETAIL_LINES) return [...details, "..."];
    details.push(line.slice(indent));
  }
  return details;
}
