import { readFile } from "node:fs/promises";
import { BelayError } from "@belay/shared";
import { figure } from "../screen.js";
import type { Identification } from "./known-hosts.js";

/** With more of them in one process, its event loop would be what is measured. */
export const AGENTS_PER_PROCESS = 2_500;
/** belayd's own files, and connections that were accepted before those they replace were seen to be gone. */
const SPARE_FILES_OF_BELAYD = 2_000;
/** A socket, a journal, and now and then a file that is read. */
const FILES_PER_AGENT = 3;
const SPARE_FILES_OF_AGENTS = 500;
/** A cut connection's port is not free at once. */
const PORTS_PER_AGENT = 2;
/** At both ends together, measured with 500 of them and rounded up; what the processes take besides. */
const KIB_PER_AGENT: Readonly<Record<Identification, number>> = { token: 100, certificate: 300 };
const OTHERWISE_KIB = 600 * 1024;

/**
 * Sees before anything is started that this machine has room for so many agents and their belayd. Throws `bench-no-room`,
 * which says what is short and how many would do.
 */
export async function mustHaveRoom(agents: number, by: Identification): Promise<void> {
  const files = await openFilesLimit();
  mustDo(
    agents,
    files - SPARE_FILES_OF_BELAYD,
    `belayd may have ${figure(files)} files open at once`,
    "Raise the hard limit on open files.",
  );
  const eachMay = Math.floor((files - SPARE_FILES_OF_AGENTS) / FILES_PER_AGENT);
  mustDo(
    Math.min(agents, AGENTS_PER_PROCESS),
    eachMay,
    `a process of agents may have ${figure(files)} files open at once`,
    "Raise the hard limit on open files.",
  );
  const ports = await ephemeralPorts();
  mustDo(
    agents,
    Math.floor(ports / PORTS_PER_AGENT),
    `there are ${figure(ports)} ports to dial from on loopback`,
    "Widen net.ipv4.ip_local_port_range.",
  );
  const availableKiB = await availableMemoryKiB();
  mustDo(
    agents,
    Math.floor((availableKiB - OTHERWISE_KIB) / KIB_PER_AGENT[by]),
    `${figure(availableKiB / 2 ** 20, 1)} GiB of memory are available`,
    "End what else needs memory here.",
  );
}

function mustDo(agents: number, most: number, what: string, remedy: string): void {
  if (agents <= most) return;
  throw new BelayError("bench-no-room", `this machine can't hold ${figure(agents)} agents and their belayd: ${what}`, {
    hint: `${remedy} Or measure with fewer: --agents ${Math.max(1, most)}`,
  });
}

/** The hard one: Node raises its own soft limit to it. */
async function openFilesLimit(): Promise<number> {
  const [, hard] = await fieldsOf("/proc/self/limits", /^Max open files\s+(\S+)\s+(\S+)/m);
  return hard === "unlimited" ? Number.POSITIVE_INFINITY : Number(hard);
}

async function ephemeralPorts(): Promise<number> {
  const [first, last] = await fieldsOf("/proc/sys/net/ipv4/ip_local_port_range", /^(\d+)\s+(\d+)/);
  return Number(last) - Number(first) + 1;
}

async function availableMemoryKiB(): Promise<number> {
  const [kiB] = await fieldsOf("/proc/meminfo", /^MemAvailable:\s+(\d+) kB/m);
  return Number(kiB);
}

async function fieldsOf(file: string, pattern: RegExp): Promise<string[]> {
  const found = pattern.exec(await readFile(file, "utf8"));
  if (found !== null) return found.slice(1);
  throw new BelayError("bench-no-room", `${file} does not say what this machine has room for`);
}
