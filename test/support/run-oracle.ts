import type { Hop, Plan, Stage } from "@belay/controller/plan/plan";
import type { EventOf, RunEvent } from "@belay/controller/run/event";
import type { HostName, Outcome } from "@belay/shared";

const RANKS = ["auth", "proxy", "node"];

interface Failing {
  readonly code: string;
  readonly stage: Stage;
  readonly batch: number;
}

/**
 * Walks the events of a run beside its plan and throws at the first that breaks an invariant, naming it. It shares no
 * code with the run and keeps its own books, in the plainest way, because it is what the run is judged by.
 */
export class RunOracle {
  readonly #plan: Plan;
  readonly #check: boolean;
  readonly #stages: readonly { stage: Stage; hop: Hop }[];
  readonly #seen = new Set<string>();
  readonly #flying = new Map<string, EventOf<"step-intended">>();
  readonly #unknown = new Map<string, EventOf<"step-intended">>();
  readonly #newest = new Map<string, string>();
  /** Ops done by `<stage>/<list>/<host>`. */
  readonly #done = new Map<string, number>();
  readonly #tries = new Map<string, { readonly since: number; readonly count: number }>();
  readonly #aside = new Map<HostName, string>();
  readonly #failing = new Map<HostName, Failing>();
  /** Failures that a budget bore: their hosts are set aside, and they still count. */
  readonly #borne: { host: HostName; stage: Stage; batch: number }[] = [];
  readonly #versions = new Map<HostName, string>();
  readonly #approvals = new Map<string, Set<string>>();
  readonly #broken = new Set<string>();
  #starter = "";
  readonly #expired = new Map<string, string>();
  readonly #opened = new Map<string, number>();
  readonly #passed = new Set<string>();
  readonly #started = new Set<string>();
  readonly #finished = new Set<string>();
  #paused = false;
  #stopping: string | null = null;
  #ended = false;
  #failureGate = false;

  constructor(plan: Plan, check = false) {
    this.#plan = plan;
    this.#check = check;
    this.#stages = (check ? plan.hops.slice(0, 1) : plan.hops).flatMap((hop) =>
      hop.stages.map((stage) => ({ stage, hop })),
    );
  }

  see(event: RunEvent): void {
    if (this.#ended) throw new Error(`${event.type} after the end`);
    switch (event.type) {
      case "run-started":
        this.#starter = event.by;
        return;
      case "stage-started":
        this.#started.add(event.stage);
        return;
      case "stage-finished":
        this.#finished.add(event.stage);
        return;
      case "gate-opened":
        this.#opened.set(event.gate, event.expiresAt);
        return;
      case "gate-decided":
        this.#seeAnswer(event);
        return;
      case "approval-lapsed":
        this.#approvals.get(event.gate)?.delete(event.of);
        return;
      case "approval-renewed":
        if (!this.#passed.has(event.gate)) throw new Error(`I6: ${event.gate} was signed again before it was passed`);
        if (event.by === this.#starter) throw new Error(`I6: ${event.by} signed for ${event.gate} of their own run`);
        return;
      case "gate-expired":
        if (event.at < (this.#opened.get(event.gate) ?? Number.POSITIVE_INFINITY)) throw new Error("expired early");
        this.#expired.set(event.gate, event.action);
        if (event.action === "deny" || event.action === "rollback") this.#stopping = "expired";
        return;
      case "gate-passed":
        this.#seePassed(event);
        return;
      case "step-intended":
        this.#seeIntended(event);
        return;
      case "step-ended":
        this.#seeEnded(event);
        return;
      case "host-unreachable": {
        const { stage } = this.#stageOf(event.stage);
        this.#failing.set(event.host, { code: "host-unreachable", stage, batch: event.batch });
        return;
      }
      case "host-quarantined":
        this.#setAside(event.host, event.by);
        return;
      case "host-released":
        this.#aside.delete(event.host);
        if (![...this.#flying.values()].some(({ host }) => host === event.host)) this.#forgetTries(event.host);
        return;
      case "failure-opened":
        if (this.#flying.size > 0) throw new Error("I9: a failure gate opened while steps were in flight");
        this.#failureGate = true;
        return;
      case "failure-decided":
        this.#seeFailureDecided(event);
        return;
      case "pause-asked":
        this.#paused = true;
        return;
      case "resumed":
        this.#paused = false;
        return;
      case "abort-asked":
        this.#stopping = "aborted";
        return;
      case "run-ended":
        this.#seeEnd(event);
        return;
      case "lease-taken":
      case "batch-started":
        return;
    }
  }

  #seeIntended(event: EventOf<"step-intended">): void {
    const { stage, hop } = this.#stageOf(event.stage);
    const where = `${event.step}`;
    if (this.#paused) throw new Error(`I12: ${where} was dispatched while paused`);
    if (this.#stopping !== null) throw new Error(`I12: ${where} was dispatched after the run was stopped`);
    if (this.#failureGate) throw new Error(`I9: ${where} was dispatched behind an open failure gate`);
    if (this.#seen.has(event.step)) throw new Error(`I7: ${where} was intended twice`);
    this.#seen.add(event.step);
    this.#checkOrder(event, stage);
    this.#checkBudgets(where);
    if (this.#flying.size >= stage.parallel) throw new Error(`parallel: ${where} is one more than ${stage.parallel}`);
    if (this.#aside.has(event.host)) throw new Error(`${where} went to a host that was set aside`);
    for (const flight of this.#flying.values()) {
      if (flight.host === event.host) throw new Error(`${where}: ${event.host} has a step in flight`);
    }
    const key = keyOf(event);
    const done = this.#done.get(key) ?? 0;
    if (this.#check ? event.index > done : event.index !== done)
      throw new Error(`I7: ${where} came before the op before it was done`);
    if (event.op === "swap") this.#checkVersions(event.host, hop, where);
    const tries = this.#tries.get(`${key}/${event.index}`);
    this.#tries.set(`${key}/${event.index}`, { since: tries?.since ?? event.at, count: (tries?.count ?? 0) + 1 });
    this.#newest.set(key, event.step);
    this.#flying.set(event.step, event);
  }

  /** Plan order, gates, and whatever must be finished before this batch. */
  #checkOrder(event: EventOf<"step-intended">, stage: Stage): void {
    const planned = event.batch === -1 ? stage.stop : (stage.batches[event.batch] ?? []);
    if (!planned.includes(event.host)) throw new Error(`${event.step}: the plan has no such host in this batch`);
    for (const { stage: earlier } of this.#stages) {
      if (!this.#check && earlier.gate !== null && !this.#passed.has(earlier.gate.id)) {
        throw new Error(`I6: ${event.step} was dispatched beyond gate ${earlier.gate.id}`);
      }
      if (earlier === stage) break;
      if (!this.#finished.has(earlier.id)) throw new Error(`I3: ${event.step} before ${earlier.id} was finished`);
    }
    if (!this.#started.has(stage.id)) throw new Error(`${event.step} before its stage started`);
    if (event.batch >= 0 && !this.#check) {
      for (const stopped of stage.stop) {
        if (!this.#isComplete(stage, -1, stopped)) throw new Error(`I5: ${event.step} while ${stopped} is not stopped`);
      }
    }
    for (let batch = 0; batch < event.batch; batch++) {
      for (const host of stage.batches[batch] ?? []) {
        if (!this.#isComplete(stage, batch, host) && !this.#aside.has(host)) {
          throw new Error(`${event.step} while ${host} of the batch before is not finished`);
        }
      }
    }
  }

  /** I9: with every known failure within its budget, and none that no budget covers, and not otherwise. */
  #checkBudgets(where: string): void {
    if (this.#check) return;
    const counted = [...[...this.#failing].map(([host, { stage, batch }]) => ({ host, stage, batch })), ...this.#borne];
    for (const [host, { code, stage, batch }] of this.#failing) {
      if (code === "drift" || code === "fenced") throw new Error(`I9: ${where} after ${code} on ${host}`);
      if (isStrict(stage, batch)) throw new Error(`I9: ${where} after ${host} failed, which tolerates none`);
      const inBatch = counted.filter((other) => other.stage === stage && other.batch === batch).length;
      if (inBatch > stage.budget.batch) throw new Error(`I9: ${where} with ${inBatch} failures in its batch`);
      const inStage = counted.filter((other) => other.stage === stage).length;
      if (inStage > stage.budget.stage) throw new Error(`I9: ${where} with ${inStage} failures in its stage`);
    }
    if (this.#failing.size > 0 && counted.length > this.#plan.budgetRun) {
      throw new Error(`I9: ${where} with ${counted.length} failures in the run`);
    }
  }

  /** I1, as it would be once this swap is done; hosts that a person left behind are on that person. */
  #checkVersions(host: HostName, hop: Hop, where: string): void {
    if (this.#check) return;
    const mover = this.#plan.hosts[host];
    if (mover === undefined) return;
    const to = major(hop.to);
    const rank = RANKS.indexOf(mover.role);
    for (const [other, planned] of Object.entries(this.#plan.hosts)) {
      const by = this.#aside.get(other);
      if (planned.cluster !== mover.cluster || other === host || (by !== undefined && by !== "belayd")) continue;
      const at = major(this.#versions.get(other) ?? planned.version);
      const otherRank = RANKS.indexOf(planned.role);
      if (otherRank < rank && at < to) throw new Error(`I1: ${where} puts ${host} ahead of ${other}, which serves it`);
      if (otherRank > rank && to - at > 1) throw new Error(`I1: ${where} leaves ${other} two majors behind`);
      if (Math.abs(to - at) > 1) throw new Error(`I3: ${where} while ${other} is not at the start of the hop`);
    }
  }

  #seeEnded(event: EventOf<"step-ended">): void {
    const { step, outcome } = event;
    const flight = this.#flying.get(step);
    if (flight !== undefined) {
      this.#flying.delete(step);
      if (outcome.status === "unknown") this.#unknown.set(step, flight);
      if (outcome.status === "done") this.#countDone(flight);
      else this.#countLoss(flight, outcome, event.at);
      return;
    }
    const late = this.#unknown.get(step);
    if (late === undefined || outcome.status === "unknown")
      throw new Error(`I7: an outcome of ${step} was counted twice`);
    this.#unknown.delete(step);
    if (outcome.status !== "done" && !this.#check) return;
    const key = keyOf(late);
    const isFlying = [...this.#flying.values()].some(({ host }) => host === late.host);
    if (this.#newest.get(key) !== step || isFlying || this.#aside.has(late.host)) {
      if (late.op === "swap") this.#versions.set(late.host, this.#stageOf(late.stage).hop.to);
      return;
    }
    this.#failing.delete(late.host);
    this.#countDone(late);
  }

  #countDone(flight: EventOf<"step-intended">): void {
    const key = keyOf(flight);
    this.#done.set(key, flight.index + 1);
    if (flight.op === "swap") this.#versions.set(flight.host, this.#stageOf(flight.stage).hop.to);
  }

  #countLoss(flight: EventOf<"step-intended">, outcome: Exclude<Outcome, { status: "done" }>, at: number): void {
    const { stage } = this.#stageOf(flight.stage);
    const key = keyOf(flight);
    // A check only wants answers, so any answer will do, and the same op may still be asked for again.
    if (this.#check && outcome.status !== "unknown") {
      this.#done.set(key, flight.index + 1);
      return;
    }
    if (outcome.status === "failed" && outcome.retryable) {
      const tries = this.#tries.get(`${key}/${flight.index}`);
      const isOutOfTime = tries !== undefined && at - tries.since >= stage.stepTimeoutMs;
      if (tries !== undefined && tries.count < stage.attempts && !isOutOfTime) return;
    }
    if (this.#aside.has(flight.host)) return;
    this.#failing.set(flight.host, { code: outcome.error.code, stage, batch: flight.batch });
  }

  #setAside(host: HostName, by: string): void {
    this.#aside.set(host, by);
    const failing = this.#failing.get(host);
    if (failing === undefined) return;
    this.#failing.delete(host);
    if (by !== "belayd") return;
    const { stage, batch, code } = failing;
    if (!this.#check && (isStrict(stage, batch) || code === "drift" || code === "fenced")) {
      throw new Error(`I9: ${host} was set aside, though its failure in ${stage.id} is one that no budget bears`);
    }
    this.#borne.push({ host, ...failing });
  }

  #seeFailureDecided(event: EventOf<"failure-decided">): void {
    this.#failureGate = false;
    if (event.decision === "abort" || event.decision === "rollback") {
      this.#stopping = event.decision;
      return;
    }
    const hosts = event.hosts.length > 0 ? event.hosts : [...this.#failing.keys()];
    const behind = event.hosts.length > 0 ? event.hosts : [...this.#aside.keys()];
    if (event.decision === "skip") {
      for (const host of hosts) this.#setAside(host, event.by);
      if (hosts.length === 0) for (const host of behind) this.#aside.set(host, event.by);
      return;
    }
    for (const host of hosts) {
      this.#failing.delete(host);
      this.#forgetTries(host);
    }
  }

  #forgetTries(host: HostName): void {
    for (const key of this.#tries.keys()) if (key.includes(`/${host}/`)) this.#tries.delete(key);
  }

  #seeAnswer({ gate, decision, by, groups, signed }: EventOf<"gate-decided">): void {
    if (decision !== "reject" && this.#plan.approvals !== undefined && signed === undefined) {
      throw new Error(`I6: ${decision} at ${gate}, and nobody signed`);
    }
    if (decision === "reject") {
      this.#stopping = "rejected";
      return;
    }
    if (decision === "break-glass") {
      this.#broken.add(gate);
      return;
    }
    const asked = this.#gate(gate);
    if (by === this.#starter) throw new Error(`I6: ${by} approved ${gate} of their own run`);
    if (asked.group !== null && !groups.includes(asked.group)) throw new Error(`I6: ${by} has no say at ${gate}`);
    const approvals = this.#approvals.get(gate) ?? new Set();
    this.#approvals.set(gate, approvals.add(by));
  }

  #seePassed({ gate, how }: EventOf<"gate-passed">): void {
    const asked = this.#gate(gate);
    const people = this.#approvals.get(gate)?.size ?? 0;
    if (how === "approvals" && people < asked.approvals)
      throw new Error(`I6: ${gate} was passed with ${people} approvals`);
    if (how === "break-glass" && !this.#broken.has(gate)) throw new Error(`I6: the glass of ${gate} is whole`);
    if (how === "timeout" && (asked.onTimeout !== "proceed" || this.#expired.get(gate) !== "proceed")) {
      throw new Error(`I6: time does not open ${gate}`);
    }
    this.#passed.add(gate);
  }

  #seeEnd({ result }: EventOf<"run-ended">): void {
    this.#ended = true;
    if (this.#flying.size > 0) throw new Error("I12: the run ended with steps in flight");
    if (result !== "done") return;
    for (const { stage } of this.#stages) {
      for (let batch = -1; batch < stage.batches.length; batch++) {
        for (const host of batch === -1 ? stage.stop : (stage.batches[batch] ?? [])) {
          if (!this.#isComplete(stage, batch, host) && !this.#aside.has(host)) {
            throw new Error(`the run ended done, but ${host} never finished ${stage.id}`);
          }
        }
      }
    }
  }

  #isComplete(stage: Stage, batch: number, host: HostName): boolean {
    const name = batch === -1 ? "stop" : stage.program;
    const role = this.#plan.hosts[host]?.role;
    const program = this.#plan.programs[`${name}:${role}`] ?? this.#plan.programs[name] ?? [];
    return (this.#done.get(`${stage.id}/${batch === -1 ? "stop" : "work"}/${host}`) ?? 0) >= program.length;
  }

  #gate(id: string) {
    const gate = this.#stages.find(({ stage }) => stage.gate?.id === id)?.stage.gate;
    if (gate == null) throw new Error(`I6: the plan has no gate ${id}`);
    return gate;
  }

  #stageOf(id: string) {
    const found = this.#stages.find(({ stage }) => stage.id === id);
    if (found === undefined) throw new Error(`the plan has no stage ${id}`);
    return found;
  }
}

function keyOf({ stage, batch, host }: EventOf<"step-intended">): string {
  return `${stage}/${batch === -1 ? "stop" : "work"}/${host}`;
}

/** The stop list, canaries and auth tolerate no failure. */
function isStrict(stage: Stage, batch: number): boolean {
  return batch < stage.canaries || stage.kind === "auth";
}

function major(version: string): number {
  return Number(version.split(".")[0]);
}
