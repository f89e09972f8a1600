// `npm test`: sets up, builds, lints, and runs every test; `npm test -- test/plan` runs a part. Ends with one line of counts.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { descendants, end } from "./processes.mjs";
import { root, setUp } from "./setup.mjs";
import { countsOf, failuresOf, skipsOf, slowestOf } from "./tap-output.mjs";

setUp("tests");

const SLOWEST_TOLD = 12;
/** How long tests that are ended from outside may take to end. */
const ENDING_MS = 10_000;

const part = process.argv.slice(2);
const output = join(root, ".tap", "output.tap");
mkdirSync(join(root, ".tap"), { recursive: true });
// What an earlier run left must not count for one that is ended before it writes.
rmSync(output, { force: true });

const checks =
  part.length > 0
    ? []
    : [
        ["format and lint", "npx", ["biome", "ci", "--colors=off", "--error-on-warnings", "."]],
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

// tap puts itself together for the plugins of .taprc; left to the first run, that run would still load the default ones.
const built = spawnSync("npx", ["tap", "build"], { cwd: root, encoding: "utf8" });
if (built.status !== 0) {
  process.stderr.write(`${built.stdout}${built.stderr}`);
  process.exit(1);
}

const reporter = process.stdout.isTTY ? [] : ["--reporter=min"];
const files = part.length > 0 ? testFiles(part) : [];
// Not by npx, which would stand between it and signals.
const program = join(root, "node_modules", ".bin", "tap");
// By which services are found that have outlived the agent that a test killed.
const [mark, run] = ["BELAY_TEST_RUN", `${process.pid}-${Date.now()}`];
const tap = spawn(process.execPath, [program, "run", `--output-file=${output}`, ...reporter, ...files], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, [mark]: run },
});
let ending = null;
// Ctrl-C reaches tap and the tests by itself, and is given some time.
process.on("SIGINT", () => setTimeout(endTests, ENDING_MS).unref());
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, endTests);
tap.on("close", async (status) => {
  await ending;
  clearHosts();
  const written = existsSync(output) ? readFileSync(output, "utf8") : "";
  const counts = countsOf(written);
  passed += counts.pass;
  failed += counts.fail;
  // A runner that failed without a failed test (a time-out, a crash) must not look green.
  if (status !== 0 && failed === 0) failed += 1;
  tellSkips(written);
  tellTimes(written);
  // Once more and last: of an output of an hour, its end is what is read.
  tellFailures(written);
  process.stdout.write(`${passed} passed, ${failed} failed${counts.skip > 0 ? `, ${counts.skip} skipped` : ""}\n`);
  process.exit(failed === 0 && counts.pass > 0 ? 0 : 1);
});

/** Once, however many signals come. */
function endTests() {
  if (ending !== null) return;
  ending = endAll();
  // Told to end, tap would go on to the next test.
  tap.kill("SIGKILL");
}

/** Again, because an agent that is not asked yet starts the service anew that is. Bounded: each time there are fewer who could. */
async function endAll() {
  for (let tries = 0; tries < 5; tries += 1) {
    const running = descendants(`${mark}=${run}`);
    if (running.length === 0) return;
    await end(running, ENDING_MS);
  }
}

/** A test that was ended from outside leaves the hosts up that it had booted. */
function clearHosts() {
  if (process.getuid?.() !== 0 || !existsSync("/var/lib/belay-lab")) return;
  spawnSync(process.execPath, ["--import=tsx", "scripts/lab/main.ts", "down", "--left-behind"], {
    cwd: root,
    stdio: "inherit",
  });
}

/** What was not tried here, and why not. */
function tellSkips(tapText) {
  for (const { reason, tests } of skipsOf(tapText)) {
    process.stdout.write(
      `\nSKIPPED, ${reason || "for no reason given"}:\n${tests.map((test) => `  ${test}\n`).join("")}`,
    );
  }
}

function tellTimes(tapText) {
  const slowest = slowestOf(tapText, SLOWEST_TOLD).filter(({ ms }) => ms >= 60_000);
  if (slowest.length === 0) return;
  const each = slowest.map(({ file, ms }) => `${file} ${Math.round(ms / 1_000)} s`);
  process.stdout.write(`\nthe longest: ${each.join(", ")}\n`);
}

function tellFailures(tapText) {
  for (const { path, details } of failuresOf(tapText)) {
    process.stdout.write(`\nFAILED ${path}\n${details.map((line) => `  ${line}\n`).join("")}`);
  }
}

/** The test files below the folders (or the files themselves) that were asked for. */
function testFiles(paths) {
  return paths.flatMap((path) => {
    const full = join(root, path);
    if (!statSync(full).isDirectory()) return [path];
    return readdirSync(full, { recursive: true })
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => join(path, name));
  });
}
