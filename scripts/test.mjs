// `npm test`: sets up, builds, lints, and runs every test; `npm test -- test/plan` runs a part. Ends with one line of counts.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

setUp();

const part = process.argv.slice(2);
const output = join(root, ".tap", "output.tap");
mkdirSync(join(root, ".tap"), { recursive: true });

const checks = part.length > 0 ? [] : [
  ["format and lint", "npx", ["biome", "ci", "--error-on-warnings", "."]],
  ["types of tests", "npx", ["tsc", "-p", "test", "--noEmit"]],
  ["unused code", "npx", ["knip"]],
];
let passed = 0;
let failed = 0;
for (const [name, program, args] of checks) {
  const { status } = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  process.stdout.write(`${status === 0 ? "ok" : "NOT OK"} - ${name}\n`);
  if (status === 0) passed += 1;
  else failed += 1;
}

const reporter = process.stdout.isTTY ? [] : ["--reporter=terse"];
const tap = spawn("npx", ["tap", "run", `--output-file=${output}`, ...reporter, ...part], { cwd: root, stdio: "inherit" });
tap.on("close", (status) => {
  const counts = countTests(readFileSync(output, "utf8"));
  passed += counts.passed;
  failed += counts.failed;
  // A runner that failed without a failed test (a time-out, a crash) must not look green.
  if (status !== 0 && failed === 0) failed += 1;
  process.stdout.write(`${passed} passed, ${failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ""}\n`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
});

/** Counts the assertions of all levels that are leaves: a test point that is a subtest's own summary is not one. */
function countTests(tapText) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const lines = tapText.split("\n");
  for (const [index, line] of lines.entries()) {
    const point = /^(\s*)(not )?ok \d+(.*)$/.exec(line);
    if (point === null) continue;
    if (closesSubtest(lines, index, point[1].length)) continue;
    if (/# SKIP/i.test(point[3])) counts.skipped += 1;
    else if (point[2] === undefined) counts.passed += 1;
    else counts.failed += 1;
  }
  return counts;
}

/** A summary stands right behind the deeper-indented lines of what it sums up, or opens a block with a brace. */
function closesSubtest(lines, index, indent) {
  if (/\{\s*$/.test(lines[index])) return true;
  for (let back = index - 1; back >= 0; back -= 1) {
    if (lines[back].trim() === "") continue;
    return /^\s*(1\.\.\d+|# (time|failed|skip|todo|bailout))/.test(lines[back]) && indentOf(lines[back]) > indent;
  }
  return false;
}

function indentOf(line) {
  return line.length - line.trimStart().length;
}
