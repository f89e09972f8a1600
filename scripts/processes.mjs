// Processes below this one, for a script that is ended from outside and leaves nothing running.
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY_MS = 100;

/** The pids of all that was started below this process, save what runs inside of booted hosts. */
export function descendants() {
  const running = existsSync("/proc") ? readdirSync("/proc").flatMap(lookAt) : [];
  const here = running.find(({ pid }) => pid === process.pid)?.namespace;
  const found = [process.pid];
  for (const above of found) {
    for (const { pid, parent, namespace } of running) if (parent === above && namespace === here) found.push(pid);
  }
  return found.slice(1);
}

function lookAt(name) {
  if (!/^[0-9]+$/.test(name)) return [];
  try {
    const stat = readFileSync(`/proc/${name}/stat`, "utf8");
    // The command's name is in brackets and may hold anything, brackets and blanks too.
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    return [{ pid: Number(name), parent, namespace: readlinkSync(`/proc/${name}/ns/pid`) }];
  } catch {
    // Gone meanwhile, or somebody else's: not ours.
    return [];
  }
}

/** Asks these processes to end, insists after `patienceMs`, and resolves when they are gone, or after twice that time. */
export async function end(pids, patienceMs) {
  const began = Date.now();
  for (const pid of pids) signal(pid, "SIGTERM");
  let insisted = false;
  while (pids.some((pid) => signal(pid, 0)) && Date.now() - began < 2 * patienceMs) {
    await sleep(LOOK_EVERY_MS);
    if (insisted || Date.now() - began < patienceMs) continue;
    insisted = true;
    for (const pid of pids) signal(pid, "SIGKILL");
  }
}

/** False: there is no such process any more. */
function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
