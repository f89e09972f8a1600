import { randomBytes } from "node:crypto";
import { BelayError, errorInfo, type Hello, type Progress, type StepOutcome } from "@belay/shared";
import type { Logger } from "pino";
import type { RunRequest } from "../api/contract.js";
import type { AgentEvents } from "../fleet/gateway.js";
import type { Plan } from "../plan/plan.js";
import { nameRelease, type ReleaseName } from "../releases/name.js";
import type { RunResult } from "../run/event.js";
import type { LeaseStore } from "../store/leases.js";
import type { PlanStore } from "../store/plans.js";
import type { RunRow, RunStore } from "../store/runs.js";
import type { Errands } from "./errand.js";
import type { Leadership } from "./leadership.js";
import { holdLease } from "./lease.js";
import type { ByPerson, HeldLease, Hosts } from "./ports.js";
import { Runner } from "./runner.js";

export interface ControllerParts {
  readonly plans: PlanStore;
  readonly runs: RunStore;
  readonly leases: LeaseStore;
  readonly hosts: Hosts;
  /** The hosts as a plan for one product sees them. */
  readonly hostsSeenBy: (product: string) => Hosts;
  readonly errands: Errands;
  readonly leadership: Pick<Leadership, "leadsAll" | "mustLead" | "meet">;
  /** Throws where a run's record is not what it was (see audit/runs.ts). */
  readonly vouch: (run: string) => Promise<unknown>;
  readonly now: () => number;
  readonly log: Logger;
  /** True when the store is this process's alone, so that every other owner of a lease is dead. */
  readonly soleController: boolean;
  /** Are an artifact's bytes here, for agents to fetch? */
  readonly isStored: (artifact: { sha256: string; size: number }) => Promise<boolean>;
  /** What speaks against a release now. */
  readonly advisoriesOf: (
    release: ReleaseName,
  ) => Promise<{ code: "release-blocked" | "release-suspect"; reason: string }[]>;
  /** What follows a run's end, once its lease is free. */
  readonly ended: (run: string, result: RunResult) => Promise<void>;
}

/**
 * All runs of this controller: starts them, takes unfinished ones up after a restart, and hands what agents say to the
 * run it belongs to.
 */
export class Controller implements AgentEvents {
  readonly #parts: ControllerParts;
  readonly #owner = `belayd-${process.pid}-${randomBytes(4).toString("hex")}`;
  readonly #runners = new Map<string, Runner>();
  /** Unfinished runs that could not be taken up: what agents say of them is not lost on them. */
  readonly #stranded = new Set<string>();
  readonly #leases = new Set<HeldLease>();

  constructor(parts: ControllerParts) {
    this.#parts = parts;
  }

  /** Takes up every run that has no end (I14). A run that can't be taken up is logged and left as it is. */
  async recover(): Promise<void> {
    for (const row of await this.#parts.runs.unfinished()) {
      try {
        await this.#parts.vouch(row.id);
        await this.#takeUp(row.id, await this.#parts.plans.get(row.plan), null);
        this.#parts.log.info({ run: row.id }, "run taken up again");
      } catch (error) {
        this.#stranded.add(row.id);
        this.#parts.log.error({ run: row.id, error: errorInfo(error) }, "cannot take a run up");
      }
    }
  }

  /** Starts a run. Throws `plan-unknown`, `cluster-busy` (I13), `plan-empty`, `artifact-not-stored`. */
  async start(request: ByPerson<RunRequest>): Promise<Runner> {
    const plan = await this.#parts.plans.get(request.plan);
    this.#parts.leadership.mustLead(plan.hosts);
    if (plan.hops.length === 0) throw new BelayError("plan-empty", "this plan has nothing to do");
    await this.#needArtifacts(plan);
    await this.#needGoodReleases(plan);
    return this.#takeUp(newRunId(plan, this.#parts.now()), plan, request);
  }

  /** The runner of an active run, or null when the run has ended (or never was). */
  active(run: string): Runner | null {
    return this.#runners.get(run) ?? null;
  }

  /** Active runs whose plan has this host. */
  runnersOf(host: string): Runner[] {
    return [...this.#runners.values()].filter((runner) => runner.plan.hosts[host] !== undefined);
  }

  get activeRuns(): string[] {
    return [...this.#runners.keys()];
  }

  /** The runner of a run that is still going on. Throws `run-ended`. */
  requireActive(row: RunRow): Runner {
    const runner = this.#runners.get(row.id);
    if (runner !== undefined) return runner;
    if (row.endedAt === null) {
      throw new BelayError("run-not-here", `run ${row.id} is not carried out by this controller`, {
        hint: "It could not be taken up at the start; belayd's log says why.",
      });
    }
    throw new BelayError("run-ended", `run ${row.id} has ended (${row.result})`, {
      hint: "`belay run list` shows what goes on now.",
    });
  }

  async connected(host: string, hello: Hello, forgot: boolean): Promise<void> {
    // Before anything of ours reaches it (I13).
    this.#parts.leadership.meet(host, hello);
    // A run that couldn't be taken up may have sent it something too: its journal stays unknown until that is settled.
    if (forgot && this.#stranded.size > 0)
      throw new BelayError("run-not-here", "a run that is not here may be concerned");
    await Promise.all(this.runnersOf(host).map((runner) => runner.connected(host, forgot)));
  }

  disconnected(host: string): void {
    for (const runner of this.runnersOf(host)) runner.wake();
  }

  outcome(host: string, message: StepOutcome): void {
    const report = { host, step: message.step, outcome: message.outcome };
    if (this.#parts.errands.take(report)) return;
    const runner = this.#runners.get(runOf(message.step));
    if (runner !== undefined) {
      runner.report(report);
      return;
    }
    // The agent keeps the outcome of a run that could not be taken up, for the controller that can.
    if (this.#stranded.has(runOf(message.step))) return;
    // Its run has ended: nothing waits for it, and the agent need not keep it.
    this.#parts.log.warn(
      { host, step: message.step, status: message.outcome.status },
      "outcome for a run that has ended",
    );
    this.#parts.hosts.acknowledge(host, message.step);
  }

  progress(_host: string, message: Progress): void {
    this.#runners.get(runOf(message.step))?.progress(message);
  }

  /** Leaves every run where it is; the next controller takes them up. */
  async stop(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.stop()));
    for (const lease of this.#leases) lease.rest();
  }

  /** A run that would find out at its fetch stage, perhaps in the second hop, is not started. */
  async #needArtifacts(plan: Plan): Promise<void> {
    for (const [version, artifacts] of Object.entries(plan.releases)) {
      for (const artifact of artifacts) {
        if (await this.#parts.isStored(artifact)) continue;
        throw new BelayError(
          "artifact-not-stored",
          `${artifact.file} (${version}) is in the catalogue, but its bytes are not here`,
          {
            hint: `belay release add ${artifact.file}`,
            context: { version, sha256: artifact.sha256 },
          },
        );
      }
    }
  }

  /** I11: what was blocked since the plan was made, or fell under suspicion, is not run unless it was accepted by name. */
  async #needGoodReleases(plan: Plan): Promise<void> {
    const accepted = new Set(
      plan.risks.filter((risk) => risk.accepted !== undefined).map((risk) => `${risk.code} ${risk.subject}`),
    );
    for (const version of Object.keys(plan.releases)) {
      for (const { code, reason } of await this.#parts.advisoriesOf({ product: plan.product, version })) {
        if (accepted.has(`${code} ${version}`)) continue;
        throw new BelayError(code, `${version} must not be run: ${reason}`, {
          hint: `Plan anew; belay release show ${nameRelease({ product: plan.product, version })} tells who said so.`,
        });
      }
    }
  }

  async #takeUp(run: string, plan: Plan, start: ByPerson<RunRequest> | null): Promise<Runner> {
    const { runs, leases, now, log } = this.#parts;
    const hosts = this.#parts.hostsSeenBy(plan.product);
    let runner: Runner | null = null;
    const lease = await holdLease({
      leases,
      run,
      clusters: Object.keys(plan.clusters),
      owner: this.#owner,
      now,
      ownersAreDead: this.#parts.soleController,
      log,
      leads: () => this.#parts.leadership.leadsAll(plan.hosts),
      onRetaken: async () => runner?.begin(this.#owner),
    });
    this.#leases.add(lease);
    const ended = (id: string, result: RunResult) => {
      this.#runners.delete(id);
      this.#leases.delete(lease);
      lease
        .release()
        .then(() => this.#parts.ended(id, result))
        .catch((error: unknown) => log.error({ run: id, err: error }, "what follows a run's end failed"));
    };
    try {
      if (start !== null) await runs.create(run, plan, startedBy(start, run, plan, lease.fence, now()));
      runner = await Runner.load({ run, plan, log: runs, hosts, lease, now, logger: log, ended });
      this.#runners.set(run, runner);
      await runner.begin(this.#owner);
      return runner;
    } catch (error) {
      this.#runners.delete(run);
      this.#leases.delete(lease);
      await runner?.stop();
      // A run that was not there before leaves nothing behind. One that goes on keeps its clusters: it may have steps in
      // flight on them (I13).
      if (start === null) lease.rest();
      else await this.#undoStart(run, now()).finally(() => lease.release());
      throw error;
    }
  }

  /** Whoever asked for the run was told that it did not start: then the next controller must not start it either. */
  async #undoStart(run: string, at: number): Promise<void> {
    const { runs, log } = this.#parts;
    try {
      const { length } = await runs.read(run, 0, 2);
      const reason = "it could not be started";
      if (length === 1) await runs.append(run, 1, [{ type: "run-ended", at, result: "aborted", reason }], []);
    } catch (error) {
      log.error({ run, error: errorInfo(error) }, "a run that failed to start may start at the next restart");
    }
  }
}

function startedBy(start: ByPerson<RunRequest>, run: string, plan: Plan, fence: number, at: number) {
  const { check = false, by, reason } = start;
  const why = reason === undefined ? {} : { reason };
  return { type: "run-started", at, run, plan: plan.id, check, by, ...why, fence } as const;
}

/**
 * `20261123-201500-3f9c7a04b1`: sorts by time, and says which plan it carries out. The rest is random, and long enough that
 * short runs of one plan may follow one another within a second.
 */
function newRunId(plan: Plan, now: number): string {
  const stamp = new Date(now).toISOString().replace(/[-:]/g, "").slice(0, 15).replace("T", "-");
  return `${stamp}-${plan.id.slice(0, 4)}${randomBytes(3).toString("hex")}`;
}

function runOf(step: string): string {
  return step.slice(0, step.indexOf("/"));
}
