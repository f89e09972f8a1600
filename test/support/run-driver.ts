import type { Plan } from "@belay/controller/plan/plan";
import { decide } from "@belay/controller/run/decide";
import type { Decision, World } from "@belay/controller/run/decision";
import type { EventOf, RunEvent } from "@belay/controller/run/event";
import { fold, replay } from "@belay/controller/run/fold";
import { phaseOf } from "@belay/controller/run/phase";
import type { RunState } from "@belay/controller/run/state";
import type { HostFacts, Outcome } from "@belay/shared";
import { done } from "@belay/shared";

/** Whoever asked for the run, and so can't approve its gates. */
export const STARTER = "olga";

/** Starts a run of a plan and drives it by hand: no clock but `now`, no agents but the test's own answers. */
export class RunDriver {
  readonly plan: Plan;
  readonly events: RunEvent[] = [];
  readonly absent = new Set<string>();
  readonly facts = new Map<string, HostFacts>();
  /** Told of every event that was recorded: an oracle, for instance. */
  readonly watchers: ((event: RunEvent) => void)[] = [];
  /** Every `phase event phase` this run went through. */
  readonly arrows = new Set<string>();
  holdsLease = true;
  now = 1_000_000;
  state: RunState;

  constructor(plan: Plan, { check = false } = {}) {
    this.plan = plan;
    const event: RunEvent = {
      type: "run-started",
      at: this.now,
      run: "r1",
      plan: plan.id,
      check,
      by: STARTER,
      fence: 1,
    };
    this.events.push(event);
    this.state = fold(null, event, plan);
  }

  readonly world: World = (() => {
    const driver = this;
    return {
      isPresent: (host) => !driver.absent.has(host),
      factsOf: (host) => driver.facts.get(host) ?? null,
      get holdsLease() {
        return driver.holdsLease;
      },
    };
  })();

  /** Records one event, as the runner would. */
  record(event: RunEvent): void {
    const before = phaseOf(this.state);
    this.state = fold(this.state, event, this.plan);
    this.events.push(event);
    this.arrows.add(`${before} ${event.type} ${phaseOf(this.state)}`);
    for (const watcher of this.watchers) watcher(event);
  }

  /** The controller dies and another reads the log again: nothing may be lost (I14). */
  restart(): void {
    this.state = replay(this.plan, JSON.parse(JSON.stringify(this.events)));
  }

  decide(): Decision {
    return decide(this.state, this.world, this.now);
  }

  /** Decides and records until nothing more may happen, or `most` moves were made; answers with what was recorded. */
  settle(most = Number.POSITIVE_INFINITY): { readonly events: readonly RunEvent[]; readonly decision: Decision } {
    const from = this.events.length;
    for (let moves = 0; moves < 10_000; moves++) {
      const decision = this.decide();
      if (decision.events.length === 0 || moves >= most) return { events: this.events.slice(from), decision };
      for (const event of decision.events) this.record(event);
    }
    throw new Error("the run does not settle");
  }

  /** Steps in flight, oldest first. */
  flights(): EventOf<"step-intended">[] {
    return this.events.filter(
      (event): event is EventOf<"step-intended"> =>
        event.type === "step-intended" && this.state.inFlight.has(event.step),
    );
  }

  /** The outcome of the step in flight on this host. */
  answer(host: string, outcome: Outcome = done(true)): void {
    const flight = this.flights().find((intended) => intended.host === host);
    if (flight === undefined) throw new Error(`no step in flight on ${host}`);
    this.record({ type: "step-ended", at: this.now, step: flight.step, outcome });
  }

  /** Settles, answers every step with `outcome`, and again, until no step is in flight: a gate, a wait, or the end. */
  flow(outcome: (step: EventOf<"step-intended">) => Outcome = () => done(true)): Decision {
    for (let rounds = 0; rounds < 10_000; rounds++) {
      const { decision } = this.settle();
      const flights = this.flights();
      if (flights.length === 0) return decision;
      for (const flight of flights) {
        this.record({ type: "step-ended", at: this.now, step: flight.step, outcome: outcome(flight) });
      }
    }
    throw new Error("the run does not come to rest");
  }

  /** Records what a command comes to; it throws why not. */
  command(events: readonly RunEvent[]): void {
    for (const event of events) this.record(event);
  }
}
