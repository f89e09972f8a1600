// Everything a fresh clone needs, each part only if it is missing: system packages, npm packages, the build.
// Plain JavaScript, with Node's own modules only, because nothing is installed yet when it runs.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** What the build and the run need of the system: the program to look for, and Debian's package for it. */
const SYSTEM = [
  { program: "sqlite3", pkg: "sqlite3", why: "consistent online backups of SQLite backends" },
  { program: "python3", pkg: "python3", why: "building the one native addon" },
  { program: "make", pkg: "make", why: "building the one native addon" },
  { program: "g++", pkg: "g++", why: "building the one native addon" },
  { program: "mkfs.ext4", pkg: "e2fsprogs", why: "tests that cut the power of file systems" },
  { program: "mkfs.xfs", pkg: "xfsprogs", why: "tests that cut the power of file systems" },
];

/** Carries out all of it; idempotent, and quick when there is nothing to do. Ends the process with a reason if it can't. */
export function setUp() {
  checkNode();
  installSystemPackages();
  installNpmPackages();
  run("npx", ["tsc", "-b"], "the build");
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(`Node ${process.versions.node} is too old.`, "Belay needs Node 20.19 or newer.");
}

function installSystemPackages() {
  const missing = SYSTEM.filter(({ program }) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return;
  const names = missing.map(({ pkg }) => pkg);
  for (const { pkg, why } of missing) say(`missing: ${pkg} (${why})`);
  const byHand = `Install by hand: apt-get install ${names.join(" ")}`;
  if (process.getuid?.() !== 0) fail("Not root, so nothing is installed on the system.", byHand);
  if (!existsSync("/usr/bin/apt-get")) fail("No apt-get here.", byHand);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["update", "-qq"], "apt-get update", env);
  run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], "apt-get install", env);
}

/** `npm ci` when what is installed is not what the lockfile says. */
function installNpmPackages() {
  const stamp = join(root, "node_modules", ".belay-lockfile");
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  say("installing npm packages (the native addon is compiled where no ready one can be had: about two minutes)");
  run("npm", ["ci", "--no-fund", "--no-audit", "--loglevel=error"], "npm ci");
  writeFileSync(stamp, wanted);
}

function run(program, args, what, env = process.env) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ["ignore", 2, 2], env });
  if (status !== 0)
    fail(`${what} failed${error ? `: ${error.message}` : ` (exit ${status})`}.`, "The lines above say why.");
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(what, hint) {
  process.stderr.write(`setup: ${what}\nhint: ${hint}\n`);
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setUp();
