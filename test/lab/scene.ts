import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { RunView } from "@belay/controller/api/contract";
import type { Test } from "tap";
import { CONTROL, fleetYaml, installOf, type LabPolicy } from "../../scripts/lab/fleet.js";
import type { Machine } from "../../scripts/lab/host/machine.js";
import { Lab, type LabOptions } from "../../scripts/lab/lab.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { Api, isAtFailure, lead, see, until } from "../support/real-fleet/index.js";
import type { ReleaseOptions } from "../support/standin/build-release.js";
import { Door } from "./door.js";
import { diaryOf, healthyAt, witness } from "./witness.js";

const BELAYD_PORT = 7443;
/** Longer than any of these stories takes on a busy machine; it only ends what hangs. */
export const PATIENCE_MS = 20 * 60_000;
/** Longer than one stage takes on a busy machine, a lost network of a minute included. */
const STAGE_MS = 5 * 60_000;

/** A lab's name that no other checkout on this machine has, and the same at the next run: so that this clears leftovers. */
export function labName(story: string): string {
  const checkout = createHash("sha256")
    .update(fileURLToPath(import.meta.url))
    .digest("hex")
    .slice(0, 6);
  return `t${checkout}-${story}`;
}

/** One booted fleet for one story; all of it is gone when the test ends. */
export class LabScene {
  readonly lab: Lab;
  readonly api: Api;

  private constructor(lab: Lab, api: Api) {
    this.lab = lab;
    this.api = api;
  }

  static async open(t: Test, story: string, options: Omit<LabOptions, "name" | "packages" | "say">): Promise<LabScene> {
    const say = (line: string) => t.comment(line);
    const lab = await Lab.start({ ...options, name: labName(story), packages: await labPackages(), say });
    t.teardown(() => lab.close());
    const ca = (await lab.belay(["ca", "show", "--pem"])).stdout;
    const door = await Door.open(lab.control.address, BELAYD_PORT, ca);
    t.teardown(() => door.close());
    const token = await lab.control.must(["cat", "/var/lib/belay/api-token"]);
    return new LabScene(lab, new Api(door.address, token.trim()));
  }

  /** Tells belayd another policy; plans that are made from now on go by it. */
  async policy(policy: LabPolicy): Promise<void> {
    await this.machine(CONTROL).writeFile("/etc/belay/fleet.yaml", fleetYaml(this.lab.fleet, policy));
  }

  addRelease(release: ReleaseOptions): Promise<void> {
    return this.lab.addRelease(release);
  }

  machine(name: string): Machine {
    return this.lab.machine(name);
  }

  /** Plans and starts. Throws, with the reasons, where the plan is blocked. */
  async start(to: string, limit?: readonly string[]): Promise<string> {
    const answer = await this.api.plan({ to, ...(limit === undefined ? {} : { limit }) });
    if (!answer.ok) throw new Error(`blocked: ${JSON.stringify(answer.blocked)}`);
    return (await this.api.start(answer.plan.id)).id;
  }

  see(run: string, what: string, found: (view: RunView) => boolean): Promise<RunView> {
    return see(this.api, run, { what, found, patienceMs: STAGE_MS });
  }

  /** Approves every gate until the run looks as asked for. */
  lead(run: string, what: string, found: (view: RunView) => boolean): Promise<RunView> {
    return lead(this.api, run, { what, found, patienceMs: STAGE_MS });
  }

  leadToEnd(run: string): Promise<RunView> {
    return this.lead(run, "its end", ({ status }) => status === "ended");
  }

  leadToGate(run: string, stage: string): Promise<RunView> {
    return this.lead(run, `the gate of ${stage}`, ({ gate }) => gate?.gate === stage && gate.status === "open");
  }

  leadToFailure(run: string): Promise<RunView> {
    return this.lead(run, "a failure gate", isAtFailure);
  }

  async abort(run: string): Promise<void> {
    await this.api.command(run, "abort");
    await this.see(run, "its end", ({ result }) => result === "aborted");
  }

  /** Waits until a version was started on a host: its swap is then in the middle, its link switched, not yet settled. */
  async untilStarted(host: string, version: string): Promise<void> {
    const seen = async () => (await diaryOf(this.machine(host))).some((line) => line.version === version);
    await until(async () => (await seen()) || "not yet", `${version} started on ${host}`, STAGE_MS);
  }

  /** Kills belayd as a power cut would, and waits until systemd has it back. */
  async killBelayd(): Promise<void> {
    await this.machine(CONTROL).must(["systemctl", "kill", "--signal=KILL", "belayd"]);
    await this.untilBelayd();
  }

  async untilBelayd(): Promise<void> {
    await until(
      async () => (await this.lab.belay(["status"], [1])).code === 0 || "no answer",
      "belayd answers",
      STAGE_MS,
    );
  }

  /** Waits until belayd sees a host come or go. */
  async untilPresent(name: string, present: boolean): Promise<void> {
    await until(
      async () => {
        const view = (await this.api.hosts()).find(({ host }) => host === name);
        return view?.present === present || JSON.stringify(view);
      },
      `${name} ${present ? "present" : "gone"}`,
      STAGE_MS,
    );
  }

  /** Changes how a host's service is defined, and waits until belayd knows. */
  async seeDefinition(name: string, change: () => Promise<unknown>): Promise<void> {
    const definition = async () =>
      (await this.api.hosts()).find(({ host }) => host === name)?.facts?.service.definition;
    const before = await definition();
    await change();
    await until(
      async () => ![undefined, before].includes(await definition()) || "as before",
      `another definition of the service of ${name}`,
      STAGE_MS,
    );
  }

  /** Holds every host against what it should run, over its own shell. A member notices a restarted auth a heartbeat later. */
  async runs(t: Test, expected: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, version] of Object.entries(expected)) {
      const machine = this.machine(name);
      const host = this.lab.fleet.find((one) => one.name === name);
      if (host === undefined) throw new Error(`${name} is no host of the fleet`);
      const settled = async () => {
        const seen = await witness(machine, installOf(host));
        return (seen.ready && seen.oneMain) || JSON.stringify(seen);
      };
      await until(settled, `${name} is ready, with one process`, STAGE_MS);
      const seen = await witness(machine, installOf(host));
      t.same(seen, healthyAt(version, seen.installed === null ? null : version), `${name} itself says ${version}`);
    }
  }

  /** The same version expected of every host. */
  allRun(t: Test, version: string): Promise<void> {
    return this.runs(t, Object.fromEntries(this.lab.fleet.map(({ name }) => [name, version])));
  }

  /** All events of a run. */
  async events(run: string): Promise<{ type: string; [field: string]: unknown }[]> {
    const all: { type: string; [field: string]: unknown }[] = [];
    for (let after = 0; ; ) {
      const { events } = await this.api.events(run, after);
      const last = events.at(-1);
      if (last === undefined) return all;
      all.push(...events.map(({ event }) => event));
      after = last.seq;
    }
  }
}
