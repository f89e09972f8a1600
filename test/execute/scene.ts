import type { LoggedEvent } from "@belay/controller/api/contract";
import type { Hosts, RunLog } from "@belay/controller/execute/ports";
import { Runner, type RunnerParts } from "@belay/controller/execute/runner";
import type { Plan } from "@belay/controller/plan/plan";
import type { RunEvent } from "@belay/controller/run/event";
import { done, type Outcome, type Step } from "@belay/shared";
import { pino } from "pino";
import { hop, host, planOf, stage } from "../support/plans.js";

export const RUN = "run-1";

/** One stage of no-ops on some hosts: what the runner does with steps, and nothing of what steps do. */
export function noopPlan(hosts: readonly string[], more: { parallel?: number; budget?: number } = {}): Plan {
  const budget = { batch: more.budget ?? 0, stage: more.budget ?? 0 };
  return planOf(
    [
      hop("hop-1", "5.4.2", "5.4.3", [
        stage("hop-1.main.verify", [hosts], { program: "noop", parallel: more.parallel ?? 100, budget }),
      ]),
    ],
    Object.fromEntries(hosts.map((name) => [name, host("node")])),
  );
}

/** A log in memory whose disk can be broken: `broken` is thrown by the next appends. */
export class MemoryLog implements RunLog {
  readonly events: RunEvent[] = [];
  appends = 0;
  broken: Error | null = null;
  /** Thrown by reads. */
  unreadable: Error | null = null;
  /** Called before an append is "on disk": what was acted on by then was acted on too early. */
  beforeDisk: () => void = () => {};
  #held: { readonly reach: () => void; readonly released: Promise<void> } | null = null;

  async append(_run: string, lastSeq: number, events: readonly RunEvent[]): Promise<void> {
    await null;
    const held = this.#held;
    this.#held = null;
    held?.reach();
    await held?.released;
    this.beforeDisk();
    if (this.broken !== null) throw this.broken;
    if (lastSeq !== this.events.length) throw new Error(`append after ${lastSeq}, but there are ${this.events.length}`);
    this.events.push(...events);
    this.appends += 1;
  }

  /** The next append waits for `release`; `reached` says that it does. */
  hold(): { readonly reached: Promise<void>; release(): void } {
    let release = () => {};
    let reach = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    this.#held = { reach, released };
    return { reached, release };
  }

  async read(_run: string, after: number, limit: number): Promise<LoggedEvent[]> {
    if (this.unreadable !== null) throw this.unreadable;
    return this.events.slice(after, after + limit).map((event, index) => ({ seq: after + index + 1, event }));
  }

  ofType(type: RunEvent["type"]): RunEvent[] {
    return this.events.filter((event) => event.type === type);
  }
}

/** Hosts that keep what they are sent, and answer when told to. */
export class FakeHosts implements Hosts {
  readonly sent: { host: string; step: Step }[] = [];
  readonly acknowledged: string[] = [];
  readonly absent = new Set<string>();

  isPresent(name: string): boolean {
    return !this.absent.has(name);
  }

  absentSince(): number | null {
    return null;
  }

  clockOffsetOf(): number | null {
    return null;
  }

  factsOf(): null {
    return null;
  }

  send(name: string, step: Step): boolean {
    if (this.absent.has(name)) return false;
    this.sent.push({ host: name, step });
    return true;
  }

  acknowledge(_host: string, step: string): void {
    this.acknowledged.push(step);
  }
}

export class Scene {
  readonly log = new MemoryLog();
  readonly hosts = new FakeHosts();
  readonly lease: { fence: number; held: boolean; rest(): void; release(): Promise<void> } = {
    fence: 1,
    held: true,
    rest() {},
    async release() {},
  };
  readonly ended: string[] = [];
  readonly plan: Plan;
  now = 1_000;

  constructor(plan: Plan) {
    this.plan = plan;
    this.log.events.push({ type: "run-started", at: 1, run: RUN, plan: plan.id, check: false, by: "tester", fence: 1 });
  }

  /** A runner on what the log holds, as after a start or a restart of belayd. */
  async runner(owner = "belayd-1"): Promise<Runner> {
    const runner = await Runner.load(this.parts());
    await runner.begin(owner);
    return runner;
  }

  parts(): RunnerParts {
    return {
      run: RUN,
      plan: this.plan,
      log: this.log,
      hosts: this.hosts,
      lease: this.lease,
      now: () => this.now,
      logger: pino({ level: "silent" }),
      ended: (run, result) => this.ended.push(`${run} ${result}`),
    };
  }

  /** Answers everything sent so far that has had no answer yet. */
  answerAll(runner: Runner, outcome: Outcome = done(false)): void {
    for (const { host: name, step } of this.hosts.sent.splice(0))
      runner.report({ host: name, step: step.step, outcome });
  }
}

/** Waits for something that follows from what was set going; a test that waits in vain runs into tap's time-out. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}
