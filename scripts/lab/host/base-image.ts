import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { must, run } from "./command.js";

const CACHE = "/var/cache/belay-lab";
const SUITE = "bookworm";
/** What operators' hosts have, and what tests look at them with. */
const PACKAGES = [
  "systemd,systemd-sysv,dbus,iproute2,procps,ca-certificates,openssh-server,python3-minimal,curl",
  "sqlite3,etcd-client,etcd-server,postgresql-client,postgresql,age",
  "nftables,strace,attr,libcap2-bin,bash-completion,adduser,man-db",
].join(",");
const BUILD_TIMEOUT_MS = 15 * 60_000;
const KEPT = /^[0-9a-f]{16}$/;

/**
 * The folder of the one base image that all hosts overlay: made at the first call, kept for all later ones. Whoever comes
 * while another process makes it waits for that one.
 */
export async function baseImage(say: (line: string) => void): Promise<string> {
  await mkdir(CACHE, { recursive: true });
  const folder = join(CACHE, createHash("sha256").update(`${SUITE} ${PACKAGES} 1`).digest("hex").slice(0, 16));
  if (existsSync(folder)) return folder;
  say(`making the hosts' base image (Debian ${SUITE}; once, about a minute)`);
  await alone(join(CACHE, "lock"), async () => {
    if (existsSync(folder)) return;
    const fresh = `${folder}.new`;
    await rm(fresh, { recursive: true, force: true });
    const build = ["debootstrap", "--variant=minbase", `--include=${PACKAGES}`, SUITE, fresh, await mirror()];
    await must(build, { timeoutMs: BUILD_TIMEOUT_MS });
    await prepare(fresh);
    await rename(fresh, folder);
    await forgetOthers(folder);
  });
  return folder;
}

/** Works while no other process does under this lock. It is held by a child that ends with this process, however that ends. */
async function alone(lock: string, work: () => Promise<void>): Promise<void> {
  const holder = spawn("flock", [lock, "sh", "-c", "echo held; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  const gone = once(holder, "close");
  try {
    const [said] = await Promise.race([once(holder.stdout, "data"), gone]);
    if (!Buffer.isBuffer(said)) throw new Error(`flock ${lock} ended with ${said}`);
    await work();
  } finally {
    holder.stdin.end();
    await gone;
  }
}

/** This machine's own Debian mirror. */
async function mirror(): Promise<string> {
  const { stdout } = await run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]);
  const [first] = stdout.split("\n").filter((line) => /^https?:/.test(line) && !line.includes("security"));
  if (first !== undefined) return first;
  throw new Error("apt names no Debian mirror: run `apt-get update` once, and look at /etc/apt/sources.list");
}

async function prepare(root: string): Promise<void> {
  const at = (path: string) => join(root, path);
  await rm(at("etc/machine-id"), { force: true });
  await writeFile(at("etc/machine-id"), "");
  // Hosts start what a test or an operator starts, not what Debian's packages bring along.
  const services = ["etcd.service", "postgresql.service", "ssh.service"];
  for (const unit of [...services, "man-db.timer", "apt-daily.timer", "apt-daily-upgrade.timer"]) {
    await rm(at(`etc/systemd/system/multi-user.target.wants/${unit}`), { force: true });
    await rm(at(`etc/systemd/system/timers.target.wants/${unit}`), { force: true });
  }
  // Archives of packages that are installed: a sixth of the image, of no use to a host.
  await rm(at("var/cache/apt/archives"), { recursive: true });
  await mkdir(at("var/cache/apt/archives/partial"), { recursive: true });
  const wants = at("etc/systemd/system/multi-user.target.wants");
  await mkdir(wants, { recursive: true });
  await must(["ln", "-sf", "/lib/systemd/system/systemd-networkd.service", wants]);
  await must(["chroot", root, "ssh-keygen", "-A"]);
  const passwd = await readFile(at("etc/passwd"), "utf8");
  if (!passwd.startsWith("root:")) throw new Error(`${root} is no system`);
}

/** Older images, of other package lists, are of no use any more. One that is in use stays: overlays lie on it. */
async function forgetOthers(folder: string): Promise<void> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8");
  for (const name of await readdir(CACHE)) {
    const path = join(CACHE, name);
    if (KEPT.test(name) && path !== folder && !mounts.includes(path)) await rm(path, { recursive: true });
  }
}
