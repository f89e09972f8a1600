import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
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
      /** From the command, or the request to start a run, to the last host's outcome. Milliseconds, one a round. */
      readonly ansibleMs: readonly number[];
      readonly belayMs: readonly number[];
      /** Median of the one over the median of the other. */
      readonly ratio: number;
    };

const HOSTS = 200;
const FORKS = 50;
const ROUNDS = 3;
const WARM_UPS = 2;
const PLAYBOOK_TIMEOUT_MS = 300_000;

const PLAYBOOK = `- hosts: all
  gather_facts: false
  tasks:
    - name: nothing
      ansible.builtin.command: /bin/true
      changed_when: false
`;

/** The same no-op over the same number of hosts, turn by turn, so that what else the machine does hits both. */
export async function benchAnsible(): Promise<AnsibleResult> {
  const version = ansibleVersion();
  if (version === null) return { installed: false };
  const hosts = hostNames(HOSTS);
  const plan = noopPlan(hosts, 1);
  const dir = await mkdtemp(join(tmpdir(), "belay-bench-ansible-"));
  try {
    await writeFile(join(dir, "inventory"), hosts.map((host) => `${host} ansible_connection=local\n`).join(""));
    await writeFile(join(dir, "playbook.yml"), PLAYBOOK);
    const fleet = await BenchFleet.start(HOSTS, [plan]);
    try {
      for (let round = 0; round < WARM_UPS; round += 1) await fleet.carryOut(plan, 1);
      const ansibleMs: number[] = [];
      const belayMs: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        ansibleMs.push(await playbookMs(dir));
        belayMs.push((await fleet.carryOut(plan, 1)).wholeMs);
      }
      const ratio = median(ansibleMs) / median(belayMs);
      return { installed: true, version, hosts: HOSTS, forks: FORKS, ansibleMs, belayMs, ratio };
    } finally {
      await fleet.stop();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function ansibleVersion(): string | null {
  const { status, stdout } = spawnSync("ansible-playbook", ["--version"], { encoding: "utf8" });
  return status === 0 ? (stdout.split("\n")[0] ?? "").trim() : null;
}

async function playbookMs(dir: string): Promise<number> {
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
      ["  ", ...ansibleMs.map((_, round) => `round ${round + 1} ms`), "median ms"],
      ["  ansible", ...[...ansibleMs, median(ansibleMs)].map((ms) => figure(ms))],
      ["  belay", ...[...belayMs, median(belayMs)].map((ms) => figure(ms))],
    ]),
    `  Ansible takes ${figure(ratio)} times as long`,
  ];
}
