import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BelayError } from "@belay/shared";
import { BenchFleet } from "./fleet/index.js";
import { hostNames, noopPlan } from "./fleet/plan.js";
import { figure, table } from "./screen.js";
import { median } from "./statistics.js";

export type AnsibleResult =
  | { readonly installed: false }
  | {
      readonly installed: true;
      readonly version: string;
      readonly hosts: number;
      readonly forks: number;
      /** From the command to its end. */
      readonly ansibleMs: number;
      /** From the request to start a run to the last acknowledged outcome: before Ansible's turn, and after it. */
      readonly belayMs: readonly number[];
      /** Ansible's time over the median of Belay's. */
      readonly ratio: number;
    };

const HOSTS = 200;
const FORKS = 50;
const WARM_UPS = 2;
/** As many before Ansible's turn as after it, so that what else the machine does hits both. */
const WAVES = 3;
/** It takes a minute or two where two cores are free, and many times that where they are not. */
const PLAYBOOK_TIMEOUT_MS = 900_000;

const PLAYBOOK = `- hosts: all
  gather_facts: false
  tasks:
    - name: nothing
      ansible.builtin.command: /bin/true
      changed_when: false
`;

/** The same no-op over the same number of hosts, in the same run. */
export async function benchAnsible(): Promise<AnsibleResult> {
  const version = ansibleVersion();
  if (version === null) return { installed: false };
  const hosts = hostNames(HOSTS);
  const plan = noopPlan(hosts, 1);
  const fleet = await BenchFleet.start({ agents: HOSTS, by: "token", plans: [plan] });
  try {
    const inventory = hosts.map((host) => `${host} ansible_connection=local\n`).join("");
    await writeFile(join(fleet.dir, "inventory"), inventory);
    await writeFile(join(fleet.dir, "playbook.yml"), PLAYBOOK);
    const waves = async (count: number) => {
      const times: number[] = [];
      for (let round = 0; round < count; round += 1) times.push((await fleet.carryOut(plan, 1)).wholeMs);
      return times;
    };
    await waves(WARM_UPS);
    const before = await waves(WAVES);
    const ansibleMs = await playbookMs(fleet.dir, fleet.ended);
    const belayMs = [...before, ...(await waves(WAVES))];
    return {
      installed: true,
      version,
      hosts: HOSTS,
      forks: FORKS,
      ansibleMs,
      belayMs,
      ratio: ansibleMs / median(belayMs),
    };
  } finally {
    await fleet.stop();
  }
}

function ansibleVersion(): string | null {
  const { status, stdout } = spawnSync("ansible-playbook", ["--version"], { encoding: "utf8" });
  return status === 0 ? (stdout.split("\n")[0] ?? "").trim() : null;
}

async function playbookMs(dir: string, ended: AbortSignal): Promise<number> {
  const start = Date.now();
  const child = spawn("ansible-playbook", ["-i", "inventory", "--forks", `${FORKS}`, "playbook.yml"], {
    cwd: dir,
    // Everything it writes stays in the folder that goes away.
    env: {
      ...process.env,
      ANSIBLE_HOME: dir,
      ANSIBLE_LOCAL_TEMP: join(dir, "local"),
      ANSIBLE_REMOTE_TEMP: join(dir, "remote"),
      ANSIBLE_NOCOLOR: "1",
    },
    stdio: ["ignore", "pipe", "inherit"],
    timeout: PLAYBOOK_TIMEOUT_MS,
    signal: ended,
  });
  let recap = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    recap += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  const ok = recap.match(/ ok=1 +changed=0 +unreachable=0 +failed=0 /g)?.length ?? 0;
  if (code !== 0 || ok !== HOSTS) {
    throw new BelayError("bench-ansible", `ansible-playbook: exit ${code}, ${ok} of ${HOSTS} hosts ok`);
  }
  return Date.now() - start;
}

export function showAnsible(result: AnsibleResult): string[] {
  if (!result.installed) return ["ansible: not installed, so there is nothing to compare with"];
  const { version, hosts, forks, ansibleMs, belayMs, ratio } = result;
  return [
    `the same no-op over ${hosts} local hosts, side by side (${version}, ${forks} forks)`,
    ...table([
      ["  Ansible", `${figure(ansibleMs)} ms`],
      ["  Belay, median", `${figure(median(belayMs))} ms`],
      ["  ratio", figure(ratio)],
    ]),
    `  Belay's waves, ms: ${belayMs.map((ms) => figure(ms)).join(" ")}`,
  ];
}
