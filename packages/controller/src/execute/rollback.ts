import { BelayError, errorInfo } from "@belay/shared";
import type { Logger } from "pino";
import type { PlanAnswer, RollbackAnswer, RollbackRequest } from "../api/contract.js";
import { planRollback } from "../plan/rollback.js";
import { rollback } from "../run/commands.js";
import type { PlanStore } from "../store/plans.js";
import type { RecordStore } from "../store/records.js";
import type { RunRow, RunStore } from "../store/runs.js";
import type { Controller } from "./controller.js";
import type { Planning } from "./planning.js";
import type { Hosts } from "./ports.js";
import { readBack } from "./read-back.js";
import { standingOf } from "./standing.js";

/** How long whoever asked is kept waiting for steps in flight; the rollback starts afterwards all the same. */
const PATIENCE_MS = 20_000;

export interface RollbackParts {
  readonly controller: Controller;
  readonly planning: Planning;
  readonly plans: PlanStore;
  readonly runs: RunStore;
  readonly records: RecordStore;
  readonly hosts: Hosts;
  /** Remembers that a fleet was rolled back from a version. */
  readonly suspect: (version: string, by: string, reason: string) => Promise<void>;
  readonly log: Logger;
}

/** What was asked for, on disk until the rollback's own run has started (I14). */
export interface PendingRollback {
  readonly by: string;
  readonly reason: string;
  readonly scope: "stage" | "hop" | "run";
}

/** A gate whose policy is to roll back says nothing of how far: back over the hop it stands in. */
const BY_POLICY: PendingRollback = { by: "belayd", reason: "nobody answered a gate in time", scope: "hop" };

/**
 * The way back: ends the run, plans from where it really stopped, and starts the rollback as a run of its own, with its
 * own gates. Steps in flight are waited for, because what they did has to be undone too.
 */
export class Rollbacks {
  readonly #parts: RollbackParts;
  readonly #started = new Map<string, (answer: RollbackAnswer) => void>();

  constructor(parts: RollbackParts) {
    this.#parts = parts;
  }

  /** Throws `rollback-pending` when steps in flight take long: it then starts by itself. */
  async rollBack(runName: string, request: RollbackRequest): Promise<RollbackAnswer> {
    const { runs, records, controller } = this.#parts;
    const row = await runs.get(runName);
    const { by, reason = "", scope } = request;
    const runner = controller.active(row.id);
    const plan = await this.#plan(row, { by, reason, scope }, runner === null);
    // What can't be planned now is refused before the run is ended for it.
    if (!plan.ok || request.planOnly === true) return { plan, run: null };
    await records.setPending(row.id, JSON.stringify({ by, reason, scope } satisfies PendingRollback));
    if (runner === null) return this.goOn(row.id, true);
    const started = new Promise<RollbackAnswer>((resolve) => this.#started.set(row.id, resolve));
    try {
      await runner.command((state, at) => rollback(state, { by, reason }, at));
    } catch (error) {
      this.#started.delete(row.id);
      await records.clearPending(row.id);
      throw error;
    }
    return withPatience(started, row.id);
  }

  /** A run has ended as rolled back (now, or before a restart): its rollback follows. `past`: it ended long ago. */
  async goOn(run: string, past = false): Promise<RollbackAnswer> {
    const { runs, records, controller, suspect, log } = this.#parts;
    const pending = await records.pending(run);
    const wanted = pending === null ? BY_POLICY : (JSON.parse(pending) as PendingRollback);
    const plan = await this.#plan(await runs.get(run), wanted, past);
    if (!plan.ok || !plan.changes) {
      await records.clearPending(run);
      log.error({ run, blocked: plan.ok ? [] : plan.blocked }, "the rollback can't start; ask for it again");
      return this.#settle(run, { plan, run: null });
    }
    for (const hop of plan.plan.hops) {
      await suspect(
        hop.from,
        wanted.by,
        `rolled back from in run ${run}${wanted.reason === "" ? "" : `: ${wanted.reason}`}`,
      );
    }
    const runner = await controller.start({ plan: plan.plan.id, by: wanted.by });
    await records.clearPending(run);
    log.info({ run, rollback: runner.run }, "rollback started");
    return this.#settle(run, { plan, run: runner.run });
  }

  /** Starts what was asked for before belayd went down (I14). */
  async recover(): Promise<void> {
    for (const run of await this.#parts.records.allPending()) {
      if (this.#parts.controller.active(run) !== null) continue;
      await this.goOn(run).catch((error: unknown) => {
        this.#parts.log.error({ run, error: errorInfo(error) }, "cannot start the rollback of a run");
      });
    }
  }

  #settle(run: string, answer: RollbackAnswer): RollbackAnswer {
    this.#started.get(run)?.(answer);
    this.#started.delete(run);
    return answer;
  }

  async #plan(row: RunRow, wanted: PendingRollback, past: boolean): Promise<PlanAnswer> {
    const { plans, runs, records, planning, hosts, controller } = this.#parts;
    const plan = await plans.get(row.plan);
    const state = controller.active(row.id)?.state ?? (await readBack(runs, row.id, plan)).state;
    const standing = standingOf(state, (host) => hosts.factsOf(host), past);
    const [{ fleet, profile, facts }, backups, aside] = await Promise.all([
      planning.known(),
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
    const result = planRollback({
      ...standing,
      plan,
      run: row.id,
      scope: wanted.scope,
      backups: backups.map(({ host, hop, backup, verifiedAt }) => ({
        host,
        hop,
        backup,
        verified: verifiedAt !== null,
      })),
      fleet,
      profile,
      facts: current,
      quarantine: aside.filter(({ host }) => plan.hosts[host] !== undefined),
      acceptRisks: [],
    });
    return planning.keep(result, fleet, current, wanted.by);
  }
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
