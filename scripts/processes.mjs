// Processes below this one, for a script that is ended from outside and leaves nothing running.
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY_MS = 100;

/**
 * All that was started below this process and is still below it, or carries `mark` (`NAME=value`) in the environment that it was
 * started with, as what has outlived its parent does; save what runs inside of booted hosts. Each by its pid, and by when it was born,
 * which tells it from a later one of the same pid.
 */
export function descendants(mark) {
  const running = existsSync("/proc") ? readdirSync("/proc").flatMap(lookAt) : [];
  const here = running.find(({ pid }) => pid === process.pid)?.namespace;
  const marked = running.filter(
    ({ pid, namespace }) => pid !== process.pid && namespace === here && carries(pid, mark),
  );
  const found = [{ pid: process.pid }, ...marked];
  for (const above of found) {
    const below = running.filter(({ parent, namespace }) => parent === above.pid && namespace === here);
    found.push(...below.filter(({ pid }) => !found.some((one) => one.pid === pid)));
  }
  return found.slice(1);
}

function carries(pid, mark) {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(mark);
  } catch {
    // Gone meanwhile, or somebody else's: not ours.
    return false;
  }
}

/** Asks these processes to end, insists after `patienceMs`, and resolves when they are gone, or after twice that time. */
export async function end(processes, patienceMs) {
  const began = Date.now();
  for (const each of processes) signal(each, "SIGTERM");
  let insisted = false;
  while (processes.some(lives) && Date.now() - began < 2 * patienceMs) {
    await sleep(LOOK_EVERY_MS);
    if (insisted || Date.now() - began < patienceMs) continue;
    insisted = true;
    for (const each of processes) signal(each, "SIGKILL");
  }
}

function signal(one, name) {
  try {
    if (lives(one)) process.kill(one.pid, name);
  } catch (error) {
    // It ended in this very moment.
    if (error.code !== "ESRCH") throw error;
  }
}

function lives({ pid, bornAt }) {
  return lookAt(String(pid)).some((now) => now.bornAt === bornAt);
}

/** Nothing: it is gone, a zombie, or no process. */
function lookAt(name) {
  if (!/^[0-9]+$/.test(name)) return [];
  try {
    const stat = readFileSync(`/proc/${name}/stat`, "utf8");
    // The command's name is in brackets and may hold anything, brackets and blanks too.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return [];
    const namespace = readlinkSync(`/proc/${name}/ns/pid`);
    return [{ pid: Number(name), parent: Number(fields[1]), bornAt: fields[19], namespace }];
  } catch {
    // Gone meanwhile, or somebody else's: not ours.
    return [];
  }
}
