import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Machine } from "../../scripts/lab/host/machine.js";
import { askHost } from "../../scripts/lab/teleport.js";
import type { DiaryLine } from "../support/standin/src/diary.js";

/** What a host says of its service over its own shell: no agent and no belayd is asked. */
export interface Witness {
  /** By the running process's own endpoint. */
  readonly version: string | null;
  readonly ready: boolean;
  /** Where the link leads; null: there is none, the programs lie there as plain files. */
  readonly installed: string | null;
  /** What the program in everybody's PATH says of itself. */
  readonly program: string;
  /** systemd's word. */
  readonly active: string;
  /** systemd's main process is the one of the PID file, and the only one. */
  readonly oneMain: boolean;
}

/** In brackets: so that the shell which asks is not among those that are found. */
const PROCESSES = "[t]eleport start --config";

/** Asks the host itself. `install` is where its versions and their link lie. Throws when it is off. */
export async function witness(machine: Machine, install = "/opt/belay/teleport"): Promise<Witness> {
  const said = await askHost(machine);
  const [installed = "", program = "", active = "", main = "", pidFile = "", ...all] = (
    await machine.shell(`
      basename "$(readlink ${install}/current || echo none)"
      /usr/local/bin/teleport version
      systemctl show --value -p ActiveState teleport
      systemctl show --value -p MainPID teleport
      cat /run/teleport.pid 2>/dev/null || echo none
      pgrep -f -- '${PROCESSES}' || true
    `)
  )
    .trim()
    .split("\n");
  const oneMain = main === pidFile && all.length === 1 && all[0] === main;
  return {
    ...said,
    installed: installed === "none" ? null : installed,
    program: /v([0-9.]+)/.exec(program)?.[1] ?? program,
    active,
    oneMain,
  };
}

/** How a host looks on which this version runs, and nothing is left over. `installed` is null before the first swap. */
export function healthyAt(version: string, installed: string | null = version): Witness {
  return { version, ready: true, installed, program: version, active: "active", oneMain: true };
}

/** All that the host's service wrote down of its life, from its disk. */
export async function diaryOf(machine: Machine): Promise<DiaryLine[]> {
  const text = await readFile(join(machine.root, "var/lib/teleport/starts.jsonl"), "utf8");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as DiaryLine]));
}

/** Versions that were started there, oldest first, tries in a row told as one. */
export async function livesOf(machine: Machine): Promise<string[]> {
  const starts = (await diaryOf(machine)).filter(({ event }) => event === "start").map(({ version }) => version);
  return starts.filter((version, index) => version !== starts[index - 1]);
}

/** What the memory of a host's agent is held to, and what came of that. */
export interface AgentMemory {
  /** systemd's word. */
  readonly limit: number;
  /** The kernel's; null: it holds nothing to any limit on this machine. */
  readonly enforced: number | null;
  /**
   * Of the agent's own process, in bytes. The group's peak is no measure of what it needs: it counts the pages of every file
   * that was written or read, which the kernel only gives up at the limit.
   */
  readonly peak: number;
  /**
   * Processes of the unit that the kernel killed for want of memory, by its own count; and agents that were killed, by
   * systemd's record, since with its last process a group goes, and the count with it.
   */
  readonly killed: number;
}

/** Asks the host itself. Throws where no agent runs. */
export async function agentMemory(machine: Machine): Promise<AgentMemory> {
  const said = await machine.shell(`
    group=/sys/fs/cgroup/memory/system.slice/belay-agent.service
    systemctl show --value -p MemoryMax belay-agent
    cat $group/memory.limit_in_bytes 2>/dev/null || echo none
    awk '$1 == "VmHWM:" { print $2 }' /proc/$(systemctl show --value -p MainPID belay-agent)/status
    awk '$1 == "oom_kill" { print $2 }' $group/memory.oom_control 2>/dev/null || echo 0
    journalctl -u belay-agent --no-pager | grep -c 'Main process exited, code=killed' || true
  `);
  const [limit = "", enforced = "", peakKib = "", killed = "", agents = ""] = said.trim().split("\n");
  return {
    limit: Number(limit),
    enforced: enforced === "none" ? null : Number(enforced),
    peak: Number(peakKib) * 1024,
    killed: Number(killed) + Number(agents),
  };
}
