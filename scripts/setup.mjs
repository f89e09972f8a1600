// Everything a fresh clone needs, each part only if it is missing: system packages, npm packages, the build.
// Plain JavaScript, with Node's own modules only, because nothing is installed yet when it runs.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** The shell finds it: off the path, and in a folder of its version. */
const POSTGRES = "/usr/lib/postgresql/*/bin/postgres";
/** While this stands and says 101, Debian's packages start no service. */
const NO_STARTS = "/usr/sbin/policy-rc.d";

/**
 * What the build and the run need of the system: the program to look for, and Debian's package for it. What is only `for`
 * some purposes is left out for others, and is no must: the tests concerned skip, and the lab says itself why it can't.
 * Tests run servers of their own, so the `service` that comes with a package is not started.
 */
const SYSTEM = [
  { program: "sqlite3", pkg: "sqlite3", why: "consistent online backups of SQLite backends" },
  { program: "python3", pkg: "python3", why: "building the one native addon" },
  { program: "make", pkg: "make", why: "building the one native addon" },
  { program: "g++", pkg: "g++", why: "building the one native addon" },
  {
    program: "strip",
    pkg: "binutils",
    why: "executables a sixth smaller, in packages",
    for: ["tests", "lab", "package"],
  },
  { program: "systemd-analyze", pkg: "systemd", why: "the exposure of the packages' units", for: ["tests"] },
  { program: "man", pkg: "man-db", why: "the packages' manual pages", for: ["tests"] },
  { program: "groff", pkg: "groff", why: "the packages' manual pages", for: ["tests"] },
  { program: "mkfs.ext4", pkg: "e2fsprogs", why: "tests that cut the power of file systems", for: ["tests"] },
  { program: "strace", pkg: "strace", why: "tests that kill the agent at its system calls", for: ["tests"] },
  { program: "mkfs.xfs", pkg: "xfsprogs", why: "tests that cut the power of file systems", for: ["tests"] },
  { program: "openssl", pkg: "openssl", why: "certificates for tests and the lab", for: ["tests", "lab"] },
  { program: "systemd-nspawn", pkg: "systemd-container", why: "booting the lab's hosts", for: ["tests", "lab"] },
  { program: "debootstrap", pkg: "debootstrap", why: "the system of the lab's hosts", for: ["tests", "lab"] },
  { program: "setcap", pkg: "libcap2-bin", why: "capabilities of adopted programs, in tests", for: ["tests"] },
  { program: "faketime", pkg: "faketime", why: "hosts of the lab whose clock is moved", for: ["tests", "lab"] },
  { program: "ip", pkg: "iproute2", why: "the lab's network", for: ["tests", "lab"] },
  { program: "pgrep", pkg: "procps", why: "what a lab has left behind", for: ["tests"] },
  { program: "nft", pkg: "nftables", why: "cutting the lab's network", for: ["tests", "lab"] },
  { program: "etcd", pkg: "etcd-server", why: "backends in etcd", for: ["tests"], service: "etcd" },
  { program: "etcdctl", pkg: "etcd-client", why: "backends in etcd", for: ["tests"] },
  { program: POSTGRES, pkg: "postgresql", why: "backends in PostgreSQL", for: ["tests"], service: "postgresql" },
  { program: "age", pkg: "age", why: "copies of backups, encrypted", for: ["tests"] },
  {
    program: "ssh-keygen",
    pkg: "openssh-client",
    why: "signatures of approvals, by keys with a passphrase and in tests",
    for: ["tests", "demo"],
  },
  { program: "fish", pkg: "fish", why: "completion in its shell", for: ["tests"] },
  { program: "zsh", pkg: "zsh", why: "completion in its shell", for: ["tests"] },
  { program: "pg_dump", pkg: "postgresql-client", why: "backends in PostgreSQL", for: ["tests"] },
];

/**
 * Carries out all of it, or what one purpose needs: `tests`, `lab`, `demo` ... Idempotent, and quick when there is nothing to
 * do. Ends the process with a reason if it can't.
 */
export function setUp(purpose = "all") {
  checkNode();
  installSystemPackages(SYSTEM.filter((each) => purpose === "all" || (each.for ?? [purpose]).includes(purpose)));
  installNpmPackages();
  run("npx", ["tsc", "-b"], "the build");
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  fail(`Node ${process.versions.node} is too old.`, "Belay needs Node 20.19 or newer.");
}

function installSystemPackages(wanted) {
  const missing = wanted.filter(({ program }) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return;
  const names = missing.map(({ pkg }) => pkg);
  for (const { pkg, why } of missing) say(`missing: ${pkg} (${why})`);
  const byHand = `Install by hand: apt-get install ${names.join(" ")}`;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && missing.every((each) => each.for !== undefined)) return;
  if (!isRoot) fail("Not root, so nothing is installed on the system.", byHand);
  if (!existsSync("/usr/bin/apt-get")) fail("No apt-get here.", byHand);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["update", "-qq"], "apt-get update", env);
  const allowStarts = forbidStarts();
  run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], "apt-get install", env);
  allowStarts();
  for (const { service } of missing)
    if (service) run("systemctl", ["--quiet", "disable", service], "disabling it", env);
}

/** Until the function it returns is called, or this process ends. A policy of the host's own stays as it is. */
function forbidStarts() {
  if (existsSync(NO_STARTS)) return () => undefined;
  const allowStarts = () => rmSync(NO_STARTS, { force: true });
  process.once("exit", allowStarts);
  writeFileSync(NO_STARTS, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  return () => {
    process.off("exit", allowStarts);
    allowStarts();
  };
}

/** `npm ci` when what is installed is not what the lockfile says. */
function installNpmPackages() {
  const stamp = join(root, "node_modules", ".belay-lockfile");
  const wanted = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  say("installing npm packages (the native addon is compiled: about two minutes)");
  run("npm", ["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"], "npm ci");
  // No package's scripts run but this one's. It is compiled from what the lockfile has the digest of: the ready-made addon
  // that its own script would rather download has none.
  const source = { ...process.env, npm_config_build_from_source: "true" };
  // npm warns of the setting, which is the addon's own and not its.
  run("npm", ["rebuild", "better-sqlite3", "--ignore-scripts=false", "--loglevel=error"], "the native addon", source);
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
