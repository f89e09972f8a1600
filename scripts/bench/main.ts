import { parseArgs } from "node:util";
import { BelayError } from "@belay/shared";
import { type AnsibleResult, benchAnsible, showAnsible } from "./ansible.js";
import { benchLab, type LabResult, showLab } from "./lab/index.js";
import { loadNow, type Machine, readMachine, showMachine } from "./machine.js";
import { benchPlanner, type PlannerRow, showPlanner } from "./planner.js";
import { complain, figure, say } from "./screen.js";
import { benchSigning, type SignResult, showSigning } from "./sign.js";
import { benchStorms, type StormResult, showStorms } from "./storm.js";
import { benchWaves, showWaves, type WaveResult } from "./wave.js";

const HELP = `npm run bench -- [plan] [sign] [wave] [storm] [ansible] [lab] [--tls] [--agents N] [--json]

Measures on this machine; without a part's name, all of them but storm and lab. docs/benchmarks.md says how to read the figures.

  plan      time to plan and to lint fleets of 100, 1,000 and 10,000 hosts
  sign      signed approvals of 10,000 hosts: plan, lint, tree and proofs; a statement signed and verified
  wave      a no-op step to 1,000 agents over WebSockets, intent and outcome durable on both ends
  storm     1,000 agents lose their connection at once and come back: by tokens and over mutual TLS (eight minutes)
  ansible   the same no-op over 200 local hosts, by Ansible and by Belay (where ansible-playbook is installed)
  lab       a stage of eight booted nodes with 50 MB each: by Belay, a shell script, Ansible (needs root; ten minutes)

  --tls       wave: agents connect over mutual TLS, each with a certificate of belayd's own authority; else by tokens
  --agents N  wave, storm: so many agents, up to 10,000; 1,000 by default
  --json      the figures for a program, on stdout`;

const PARTS = ["plan", "sign", "wave", "storm", "ansible", "lab"] as const;
const BY_DEFAULT: readonly Part[] = ["plan", "sign", "wave", "ansible"];
type Part = (typeof PARTS)[number];

const AGENTS = 1_000;
/** More than that on one machine measures the machine. */
const MOST_AGENTS = 10_000;

interface Report {
  machine: Machine;
  plan?: PlannerRow[];
  sign?: SignResult;
  wave?: WaveResult;
  storm?: StormResult;
  ansible?: AnsibleResult;
  lab?: LabResult;
}

/** No figure makes it fail: a slow machine is no defect. Exit code 1 means that something could not be measured. */
async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      tls: { type: "boolean", default: false },
      agents: { type: "string", default: `${AGENTS}` },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const stray = positionals.find((part) => !isPart(part));
  if (stray !== undefined || values.help) {
    say(stray === undefined ? HELP : `There is no part "${stray}".\n\n${HELP}`);
    return stray === undefined ? 0 : 1;
  }
  const agents = readAgents(values.agents);
  const asked = new Set<string>(positionals.length === 0 ? BY_DEFAULT : positionals);
  const show = values.json ? () => {} : (lines: readonly string[]) => say(`${lines.join("\n")}\n`);
  const report: Report = { machine: readMachine() };
  show(showMachine(report.machine));
  if (asked.has("plan")) {
    report.plan = benchPlanner();
    show(showPlanner(report.plan));
  }
  if (asked.has("sign")) {
    report.sign = benchSigning();
    show(showSigning(report.sign));
  }
  if (asked.has("wave")) {
    report.wave = await benchWaves(agents, values.tls ? "certificate" : "token");
    show(showWaves(report.wave));
  }
  if (asked.has("storm")) {
    report.storm = await benchStorms(agents);
    show(showStorms(report.storm));
  }
  if (asked.has("ansible")) {
    report.ansible = await benchAnsible();
    show(showAnsible(report.ansible));
  }
  if (asked.has("lab")) {
    report.lab = await benchLab();
    show(showLab(report.lab));
  }
  show([`load at the end: ${loadNow()}`]);
  if (values.json) say(JSON.stringify(report, null, 2));
  return 0;
}

/** Throws `usage`. */
function readAgents(text: string): number {
  const agents = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (agents >= 1 && agents <= MOST_AGENTS) return agents;
  throw new BelayError("usage", `--agents takes a number from 1 to ${figure(MOST_AGENTS)}, not "${text}"`);
}

function isPart(text: string): text is Part {
  return (PARTS as readonly string[]).includes(text);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  complain(error);
  process.exitCode = 1;
}
