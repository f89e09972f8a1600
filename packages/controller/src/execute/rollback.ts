import { BelayError, errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { PlanAnswer, RollbackAnswer, RollbackRequest } from "../api/contract.js";
import { rollbackPlan } from "../plan/rollback.js";
import type { ReleaseName } from "../releases/name.js";
import { rollback } from "../run/commands.js";
import type { RunResult } from "../run/event.js";
import type { RunState } from "../run/state.js";
import type { PlanStore } from "../store/plans.js";
import type { RecordStore } from "../store/records.js";
import type { RunRow, RunStore } from "../store/runs.js";
import { byPieces } from "./by-pieces.js";
import type { Controller } from "./controller.js";
import type { Planning } from "./planning.js";
import type { ByPerson, Hosts } from "./ports.js";
import { readBack } from "./read-back.js";
import { standingOf } from "./standing.js";
import { wholeCopy } from "./whole-copy.js";

/** Between looks whether the hosts that a rollback needs have come back. */
const LOOK_AGAIN_MS = 5_000;
/** How long whoever asked is kept waiting for steps in flight; the rollback starts afterwards all the same. */
const PATIENCE_MS = 20_000;

export interface RollbackParts {
  readonly controller: Controller;
  readonly planning: Planning;
  readonly plans: PlanStore;
  readonly runs: RunStore;
  readonly records: RecordStore;
  readonly hostsSeenBy: (product: string) => Hosts;
  /** Remembers that a fleet was rolled back from a version. */
  readonly suspect: (release: ReleaseName, by: string, reason: string) => Promise<void>;
  readonly log: Logger;
}

/** What was asked for, on disk until the rollback's own run has started (I14). */
export interface PendingRollback {
  readonly by: string;
  readonly reason: string;
  readonly scope: "stage" | "hop" | "run";
  /** Absent where somebody asked before there was a choice. */
  readonly safetyBackup?: boolean;
  /** The run had ended long before: its hosts' own facts say where they are. */
  readonly past: boolean;
}

/** A gate whose policy is to roll back says nothing of how far: back over the hop it stands in. */
const BY_POLICY: PendingRollback = {
  by: "belayd",
  reason: "nobody answered a gate in time",
  scope: "hop",
  past: false,
};

/**
 * The way back: ends the run, plans from where it really stopped, and starts the rollback as a run of its own, with its
 * own gates. Steps in flight are waited for, because what they did has to be undone too.
 */
export class Rollbacks {
  readonly #parts: RollbackParts;
  readonly #started = new Map<string, Waiter>();
  readonly #going = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Runs of which a rollback is being asked for: what the one finds, the other would find, too. */
  readonly #asking = new Set<string>();
  #stopped = false;

  constructor(parts: RollbackParts) {
    this.#parts = parts;
  }

  /** Throws `rollback-pending` when steps in flight take long, or it was asked for already: it then starts by itself. */
  async rollBack(runName: string, request: ByPerson<RollbackRequest>): Promise<RollbackAnswer> {
    const { runs, controller } = this.#parts;
    const row = await runs.get(runName);
    const { by, reason = "", scope, safetyBackup = true } = request;
    const past = controller.active(row.id) === null;
    const wanted: PendingRollback = { by, reason, scope, safetyBackup, past };
    const plan = await this.#plan(row, wanted);
    // What can't be planned now is refused before the run is ended for it.
    if (!plan.ok || request.planOnly === true) return { plan, run: null };
    if (this.#asking.has(row.id)) throw pendingAlready(row.id);
    this.#asking.add(row.id);
    try {
      return await this.#ask(row.id, wanted);
    } finally {
      this.#asking.delete(row.id);
    }
  }

  /** Puts it on record, and ends the run for it, if that goes on. */
  async #ask(run: string, wanted: PendingRollback): Promise<RollbackAnswer> {
    const { records, controller } = this.#parts;
    const { by, reason } = wanted;
    if ((await records.pending(run)) !== null) throw pendingAlready(run);
    const runner = controller.active(run);
    // Refused here if it isn't legal, before anything is on record.
    await runner?.look(({ state }) => rollback(state, { by, reason }, state.lastAt));
    await records.setPending(run, JSON.stringify(wanted));
    if (runner === null) return this.goOn(run);
    const started = new Promise<RollbackAnswer>((resolve, reject) => this.#started.set(run, { resolve, reject }));
    try {
      await runner.command((state, at) => rollback(state, { by, reason }, at));
    } catch (error) {
      this.#started.delete(run);
      await records.clearPending(run);
      throw error;
    }
    return withPatience(started, run);
  }

  /** A run is over. As rolled back: its rollback follows. Otherwise nothing does, whatever was asked before. */
  async runEnded(run: string, result: RunResult): Promise<void> {
    const { records } = this.#parts;
    if (result !== "rolled-back") {
      await records.clearPending(run);
      return;
    }
    if ((await records.pending(run)) === null) await records.setPending(run, JSON.stringify(BY_POLICY));
    await this.goOn(run).catch((error: unknown) => this.#report(run, error));
  }

  /**
   * Starts what is pending for a run that has ended. Hosts that are away (as all are, right after a restart) are waited
   * for: the request stays on record until its run has started or can't be planned (I14).
   */
  async goOn(run: string): Promise<RollbackAnswer> {
    if (this.#going.has(run)) throw pendingAlready(run);
    this.#going.add(run);
    try {
      const answer = await this.#start(run);
      if (answer !== null) return this.#settle(run, answer);
    } catch (error) {
      this.#started.get(run)?.reject(error);
      this.#started.delete(run);
      // It is on record still, and nobody can ask a second time: so it is tried again, whatever stood in its way.
      this.#lookAgain(run);
      throw error;
    } finally {
      this.#going.delete(run);
    }
    this.#lookAgain(run);
    throw pendingAlready(run);
  }

  #lookAgain(run: string): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.goOn(run).catch((error: unknown) => this.#report(run, error));
    }, LOOK_AGAIN_MS);
    this.#timers.add(timer);
  }

  /** Starts what was asked for before belayd went down (I14), and forgets what its run's end has made void. */
  async recover(): Promise<void> {
    const { records, runs, controller } = this.#parts;
    for (const run of await records.allPending()) {
      if (controller.active(run) !== null) continue;
      try {
        const { past } = JSON.parse((await records.pending(run)) ?? "{}") as Partial<PendingRollback>;
        if (past === true || (await runs.get(run)).result === "rolled-back") await this.goOn(run);
        else await records.clearPending(run);
      } catch (error) {
        this.#report(run, error);
      }
    }
  }

  /** Starts nothing more. What is pending stays on record. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Null: hosts are away that it needs, and may come back. */
  async #start(run: string): Promise<RollbackAnswer | null> {
    const { runs, records, controller, suspect, log } = this.#parts;
    const pending = await records.pending(run);
    const wanted = pending === null ? BY_POLICY : (JSON.parse(pending) as PendingRollback);
    const plan = await this.#plan(await runs.get(run), wanted);
    if (!plan.ok && plan.blocked.every(({ code }) => code === "host-unreachable")) {
      log.warn({ run, hosts: plan.blocked.map(({ subject }) => subject).slice(0, 20) }, "rollback waits for hosts");
      return null;
    }
    if (!plan.ok || !plan.changes) {
      await records.clearPending(run);
      log.error({ run, blocked: plan.ok ? [] : plan.blocked }, "the rollback can't start; ask for it again");
      return { plan, run: null };
    }
    for (const hop of plan.plan.hops) {
      const why = wanted.reason === "" ? "" : `: ${wanted.reason}`;
      await suspect(
        { product: plan.plan.product, version: hop.from },
        wanted.by,
        `rolled back from in run ${run}${why}`,
      );
    }
    const runner = await controller.start({ plan: plan.plan.id, by: wanted.by });
    await records.clearPending(run);
    log.info({ run, rollback: runner.run }, "rollback started");
    return { plan, run: runner.run };
  }

  #report(run: string, error: unknown): void {
    const info = errorInfo(error);
    if (info.code === "rollback-pending") return;
    this.#parts.log.error({ run, error: info }, "cannot start the rollback of a run");
  }

  #settle(run: string, answer: RollbackAnswer): RollbackAnswer {
    this.#started.get(run)?.resolve(answer);
    this.#started.delete(run);
    return answer;
  }

  async #plan(row: RunRow, wanted: PendingRollback): Promise<PlanAnswer> {
    const { plans, runs, records, planning, controller } = this.#parts;
    const plan = await plans.get(row.plan);
    const hosts = this.#parts.hostsSeenBy(plan.product);
    const standOf = (state: RunState) => standingOf(state, (host) => hosts.factsOf(host), wanted.past);
    const runner = controller.active(row.id);
    const standing =
      runner === null
        ? standOf((await readBack(runs, row.id, plan)).state)
        : await runner.look(({ state }) => standOf(state));
    const [{ fleet, profile, facts }, backups, aside] = await Promise.all([
      planning.known(plan.product),
      records.backups({ run: row.id }),
      records.quarantined(),
    ]);
    // What the run itself knows of its hosts is newer than their last facts.
    const known = { ...facts.hosts };
    for (const [host, { version }] of Object.entries(standing.progress)) {
      const fact = known[host];
      if (fact !== undefined) known[host] = { ...fact, version };
    }
    const current = { ...facts, hosts: known };
    const pieces = rollbackPlan({
      ...standing,
      plan,
      run: row.id,
      scope: wanted.scope,
      safetyBackup: wanted.safetyBackup ?? true,
      backups: backups.map(({ host, hop, backup, verifiedAt, prunedAt, copies }) => ({
        host,
        hop,
        backup,
        verified: verifiedAt !== null,
        pruned: prunedAt !== null,
        copy: wholeCopy(copies),
      })),
      fleet,
      profile,
      facts: current,
      quarantine: aside.filter(({ host }) => plan.hosts[host] !== undefined),
      acceptRisks: [],
    });
    return planning.keep(await byPieces(pieces), fleet, current, wanted.by);
  }
}

interface Waiter {
  readonly resolve: (answer: RollbackAnswer) => void;
  readonly reject: (error: unknown) => void;
}

function pendingAlready(run: string): BelayError {
  return new BelayError("rollback-pending", `a rollback of run ${run} is on record, and starts as soon as it can`, {
    hint: "belay run list shows it when it has; belay host list shows which hosts are away",
  });
}

async function withPatience(started: Promise<RollbackAnswer>, run: string): Promise<RollbackAnswer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(
        new BelayError(
          "rollback-pending",
          `run ${run} still has steps in flight; its rollback starts when they have ended`,
          {
            hint: `belay run watch ${run}, then belay run list`,
          },
        ),
      );
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([started, late]);
  } finally {
    clearTimeout(timer);
  }
}
