import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GateView, HostView, PlanAnswer, RunView } from "@belay/controller/api/contract";
import type { Role } from "@belay/shared";
import type { Test } from "tap";
import {
  askHost,
  type ClusterOnDisk,
  type HostOnDisk,
  hostOf,
  type StateServer,
  startsOf,
  waitUntilReady,
} from "../support/fleet-on-disk/index.js";
import type { Api, Program } from "../support/real-fleet/index.js";
import { isAtFailure, lead, RealFleet, see, until } from "../support/real-fleet/index.js";
import { type BuiltRelease, buildRelease, type ReleaseOptions } from "../support/standin/build-release.js";

/** Longer than any of these stories takes on a busy machine; it only ends what hangs. */
export const PATIENCE_MS = 5 * 60_000;
/** Longer than one stage takes on a busy machine: whoever waits this long for it has found a defect. */
const STAGE_MS = 90_000;

export { isAtFailure } from "../support/real-fleet/index.js";

export type PastEvent = { readonly type: string; readonly [field: string]: unknown };

export interface SceneOptions {
  /** `name: roles`, all in one cluster called `main`. */
  readonly hosts: Readonly<Record<string, readonly Role[]>>;
  readonly ha?: "shrink" | "rolling";
  readonly version: string;
  readonly releases: readonly ReleaseOptions[];
  /** On top of a rollout that settles fast and tolerates nothing. */
  readonly rollout?: Readonly<Record<string, unknown>>;
  readonly gates?: Readonly<Record<string, unknown>>;
  readonly vars?: Readonly<Record<string, string>>;
  readonly backups?: Readonly<Record<string, unknown>>;
  /** Further sections of fleet.yaml. */
  readonly more?: Readonly<Record<string, unknown>>;
  /** Further fields of every agent.yaml, which lies below this folder. */
  readonly agent?: (dir: string) => Readonly<Record<string, unknown>>;
  /** Further fields of belayd.yaml. */
  readonly belayd?: Readonly<Record<string, unknown>>;
  /** Null, or left out: auth's state is a SQLite file. */
  readonly state?: StateServer | null;
  /** Called with the new folder before anything is laid out in it. */
  readonly prepare?: (dir: string) => Promise<void>;
}

export const SETTLE = { settle: "400ms" } as const;

/** One small fleet of real processes for one story, told over belayd's API; all of it is gone when the test ends. */
export class Scene {
  readonly fleet: RealFleet;

  private constructor(fleet: RealFleet) {
    this.fleet = fleet;
  }

  static async open(t: Test, options: SceneOptions): Promise<Scene> {
    const dir = await mkdtemp(join(tmpdir(), "belay-e2e-"));
    t.teardown(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));
    await options.prepare?.(dir);
    const out = join(dir, "releases");
    const releases: BuiltRelease[] = [];
    for (const release of options.releases) releases.push(await buildRelease({ ...release, out }));
    const cluster: ClusterOnDisk = {
      name: "main",
      ha: options.ha ?? "shrink",
      ...(options.state == null ? {} : { state: options.state }),
      hosts: Object.entries(options.hosts).map(([name, roles]) => ({ name, roles })),
    };
    const fleet = await RealFleet.start({
      dir,
      clusters: [cluster],
      version: options.version,
      releases,
      fleet: {
        rollout: { auth: SETTLE, proxy: SETTLE, node: SETTLE, ...options.rollout },
        ...(options.gates === undefined ? {} : { gates: options.gates }),
        ...(options.backups === undefined ? {} : { backups: options.backups }),
        ...options.more,
        vars: { startTimeout: "20s", authStartTimeout: "20s", stopTimeout: "5s", ...options.vars },
      },
      ...(options.agent === undefined ? {} : { agent: options.agent(dir) }),
      ...(options.belayd === undefined ? {} : { belayd: options.belayd }),
    });
    // Later teardowns run first: the processes end before their folder goes.
    t.teardown(() => fleet.stop());
    return new Scene(fleet);
  }

  get api(): Api {
    return this.fleet.api;
  }

  host(name: string): HostOnDisk {
    return hostOf(this.fleet.layout, name);
  }

  agent(name: string): Program {
    return this.fleet.agentOf(name);
  }

  /** Plans an upgrade. Throws, with the reasons, where it is blocked. */
  async plan(to: string): Promise<(PlanAnswer & { ok: true })["plan"]> {
    const answer = await this.api.plan({ to });
    if (!answer.ok) throw new Error(`blocked: ${JSON.stringify(answer.blocked)}`);
    return answer.plan;
  }

  /** Plans an upgrade and starts it. Answers with the run. */
  async start(to: string, check = false): Promise<string> {
    return (await this.api.start((await this.plan(to)).id, check)).id;
  }

  /** Waits until the run looks as asked for, and approves nothing meanwhile. */
  async see(run: string, what: string, found: (view: RunView) => boolean): Promise<RunView> {
    return see(this.api, run, { what, found, patienceMs: STAGE_MS });
  }

  /** Approves every gate that opens until the run looks as asked for. An unforeseen failure gate or end is an error. */
  async lead(run: string, what: string, found: (view: RunView) => boolean): Promise<RunView> {
    return lead(this.api, run, { what, found, patienceMs: STAGE_MS });
  }

  /** Leads the run to its end, or up to a gate that it must not pass. */
  leadToEnd(run: string): Promise<RunView> {
    return this.lead(run, "its end", (view) => view.status === "ended");
  }

  leadToGate(run: string, gate: string): Promise<RunView> {
    return this.lead(run, `gate ${gate}`, (view) => view.gate?.gate === gate && view.gate.status === "open");
  }

  /** Leads the run to a failure gate that has not been answered yet. */
  async leadToFailure(run: string): Promise<RunView & { gate: GateView }> {
    const view = await this.lead(run, "a failure gate", isAtFailure);
    if (view.gate === null) throw new TypeError("found at its failure gate");
    return { ...view, gate: view.gate };
  }

  /** Everything that the run ever recorded. */
  async events(run: string): Promise<PastEvent[]> {
    const all: PastEvent[] = [];
    for (let after = 0; ; ) {
      const { events } = await this.api.events(run, after);
      const last = events.at(-1);
      if (last === undefined) return all;
      all.push(...events.map(({ event }) => event));
      after = last.seq;
    }
  }

  /** Kinds of the ops that this run intended on a host, in order. */
  async opsOn(run: string, host: string): Promise<string[]> {
    const events = await this.events(run);
    return events.filter((event) => event.type === "step-intended" && event.host === host).map(({ op }) => String(op));
  }

  /** Holds hosts against what they should run: version, and `/readyz` of the process itself. */
  async runs(t: Test, expected: Readonly<Record<string, string>>): Promise<void> {
    const hosts = Object.keys(expected).map((name) => this.host(name));
    // A member notices a restarted auth a heartbeat later; healthy is what it must become again.
    await waitUntilReady(hosts, STAGE_MS);
    const running = await Promise.all(hosts.map(askHost));
    t.same(Object.fromEntries(running.map(({ host, version }) => [host, version])), expected, "what the hosts run");
  }

  /** Versions that were ever started on a host, oldest first. */
  async started(host: string): Promise<string[]> {
    return (await startsOf(this.fleet.layout, host)).map(({ version }) => version);
  }

  /** Waits until a version was started on a host: its swap is then in the middle of the settle time. */
  async untilStarted(host: string, version: string): Promise<void> {
    const seen = async () => (await this.started(host)).includes(version) || "not yet";
    await until(seen, `${version} started on ${host}`, STAGE_MS);
  }

  /** As `started`, with the tries of one version in a row (a fork, then a restart) told as one. */
  async lives(host: string): Promise<string[]> {
    const versions = await this.started(host);
    return versions.filter((version, index) => version !== versions[index - 1]);
  }

  /** Waits until belayd sees the host as asked for. */
  async untilHost(name: string, what: string, found: (view: HostView) => boolean): Promise<void> {
    await until(
      async () => {
        const view = (await this.api.hosts()).find(({ host }) => host === name);
        return view !== undefined && found(view) ? true : JSON.stringify(view);
      },
      `${name} ${what}`,
      STAGE_MS,
    );
  }
}

/** The code of what a promise is rejected with; null when it isn't. */
export async function refusalOf(promise: Promise<unknown>): Promise<string | null> {
  try {
    await promise;
    return null;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined) throw error;
    return code;
  }
}
