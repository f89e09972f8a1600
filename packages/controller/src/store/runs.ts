import { BackupResult, BelayError, decoder } from "@belay/shared";
import type { Transaction } from "kysely";
import type { LoggedEvent } from "../api/contract.js";
import type { Plan, PlanKind } from "../plan/plan.js";
import type { RunEvent, RunResult } from "../run/event.js";
import type { Schema } from "./schema.js";
import type { Store } from "./sqlite.js";

export interface RunRow {
  readonly id: string;
  readonly plan: string;
  readonly kind: PlanKind;
  readonly to: string;
  readonly check: boolean;
  readonly startedAt: number;
  readonly startedBy: string;
  readonly endedAt: number | null;
  readonly result: RunResult | null;
}

/** What a step reported of a backup, as it goes into the list of backups together with the event that says so. */
export type BackupChange = KeptRow | LostRow | PrunedRow;

interface KeptRow {
  readonly host: string;
  readonly run: string;
  readonly hop: string;
  readonly dir: string;
  readonly result: BackupResult;
}

/** Backups that a host has removed from a folder. */
interface PrunedRow {
  readonly host: string;
  readonly dir: string;
  readonly pruned: readonly string[];
}

/** One that was found to be no use any more. */
interface LostRow {
  readonly host: string;
  readonly backup: string;
  readonly result: null;
}

/** SQLite takes 32,766 parameters a statement; an event row has six. */
const EVENTS_PER_INSERT = 1_000;

const decodeBackupResult = decoder(BackupResult, "backup result", "result-malformed");

/** Runs as append-only logs of events. What is appended is on disk when the promise settles (I7, I14). */
export class RunStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Opens a run's log with its first event. Throws `run-exists`. */
  async create(run: string, plan: Plan, first: RunEvent & { type: "run-started" }): Promise<void> {
    await this.#store.commits.write(async (tx) => {
      const inserted = await tx
        .insertInto("runs")
        .values({
          id: run,
          plan_id: plan.id,
          kind: plan.kind,
          target: plan.to,
          check_only: first.check ? 1 : 0,
          started_at: first.at,
          started_by: first.by,
          ended_at: null,
          result: null,
        })
        .onConflict((conflict) => conflict.column("id").doNothing())
        .executeTakeFirst();
      if (inserted.numInsertedOrUpdatedRows === 0n) throw new BelayError("run-exists", `there is a run ${run} already`);
      await insertEvents(tx, run, 1, [first]);
    });
  }

  /**
   * Appends events after `lastSeq`. Not idempotent. A sequence number that is taken already is refused by the table's
   * key: two writers of one run can't interleave.
   */
  async append(
    run: string,
    lastSeq: number,
    events: readonly RunEvent[],
    backups: readonly BackupChange[],
  ): Promise<void> {
    await this.#store.commits.write(async (tx) => {
      await insertEvents(tx, run, lastSeq + 1, events);
      const end = events.at(-1);
      for (const change of backups) {
        await changeBackup(tx, change, end?.at ?? 0);
      }
      if (end?.type === "run-ended") {
        await tx.updateTable("runs").set({ ended_at: end.at, result: end.result }).where("id", "=", run).execute();
        await tx.deleteFrom("leases").where("run_id", "=", run).execute();
      }
    });
  }

  /** Events after `after`, oldest first, at most `limit`. */
  async read(run: string, after: number, limit: number): Promise<LoggedEvent[]> {
    const rows = await this.#store.db
      .selectFrom("events")
      .select(["seq", "body"])
      .where("run_id", "=", run)
      .where("seq", ">", after)
      .orderBy("seq")
      .limit(limit)
      .execute();
    return rows.map((row) => ({ seq: row.seq, event: JSON.parse(row.body) as RunEvent }));
  }

  /** A run by id, by unambiguous prefix, or `latest`. Throws `run-unknown`. */
  async get(name: string): Promise<RunRow> {
    const query = this.#store.db.selectFrom("runs").selectAll();
    const rows =
      name === "latest"
        ? await query.orderBy("started_at", "desc").limit(1).execute()
        : await query.where("id", ">=", name).where("id", "<", `${name}\u{10ffff}`).limit(2).execute();
    const exact = rows.find((row) => row.id === name) ?? (rows.length === 1 ? rows[0] : undefined);
    if (exact === undefined) {
      throw new BelayError(
        "run-unknown",
        rows.length > 1 ? `more than one run begins with ${name}` : `no run ${name}`,
        {
          hint: "`belay run list` shows them.",
        },
      );
    }
    return toRun(exact);
  }

  async list(limit: number): Promise<RunRow[]> {
    const rows = await this.#store.db
      .selectFrom("runs")
      .selectAll()
      .orderBy("started_at", "desc")
      .limit(limit)
      .execute();
    return rows.map(toRun);
  }

  /** Runs with no end yet: those that a restarted controller takes up again. */
  async unfinished(): Promise<RunRow[]> {
    const rows = await this.#store.db
      .selectFrom("runs")
      .selectAll()
      .where("ended_at", "is", null)
      .orderBy("started_at")
      .execute();
    return rows.map(toRun);
  }
}

async function insertEvents(
  tx: Transaction<Schema>,
  run: string,
  fromSeq: number,
  events: readonly RunEvent[],
): Promise<void> {
  for (let start = 0; start < events.length; start += EVENTS_PER_INSERT) {
    const rows = events.slice(start, start + EVENTS_PER_INSERT).map((event, index) => ({
      run_id: run,
      seq: fromSeq + start + index,
      at: event.at,
      type: event.type,
      host: "host" in event ? event.host : null,
      body: JSON.stringify(event),
    }));
    await tx.insertInto("events").values(rows).execute();
  }
}

async function changeBackup(tx: Transaction<Schema>, change: BackupChange, at: number): Promise<void> {
  if ("pruned" in change) return markPruned(tx, change, at);
  if (change.result === null) return backupVerified(tx, change, null);
  return insertBackup(tx, change, at);
}

/** When a backup was last read back whole, and so is there, whatever was said before; null: it is no use any more, whatever was found before. */
export async function backupVerified(
  tx: Transaction<Schema>,
  { host, backup }: { readonly host: string; readonly backup: string },
  at: number | null,
): Promise<void> {
  await tx
    .updateTable("backups")
    .set(at === null ? { verified_at: null } : { verified_at: at, pruned_at: null })
    .where("host", "=", host)
    .where("backup", "=", backup)
    .execute();
}

/** `at`: when this is recorded, our clock. */
async function insertBackup(tx: Transaction<Schema>, row: KeptRow, at: number): Promise<void> {
  const result = decodeBackupResult(row.result);
  await tx
    .insertInto("backups")
    .values({
      host: row.host,
      backup: result.backup,
      run_id: row.run,
      hop: row.hop,
      dir: row.dir,
      sha256: result.sha256,
      bytes: result.bytes,
      items: result.items,
      taken_at: result.takenAt,
      version: result.version,
      verified_at: result.verified ? result.takenAt : null,
      pruned_at: null,
    })
    .onConflict((conflict) =>
      conflict.columns(["host", "backup"]).doUpdateSet((eb) => ({
        sha256: eb.ref("excluded.sha256"),
        bytes: eb.ref("excluded.bytes"),
        items: eb.ref("excluded.items"),
        taken_at: eb.ref("excluded.taken_at"),
        verified_at: eb.fn.coalesce("excluded.verified_at", "backups.verified_at"),
        pruned_at: null,
      })),
    )
    .execute();
  // The host read these back itself before it said so. One that is not on record here is none.
  for (const { sha256 } of result.copies ?? []) {
    await tx
      .updateTable("backup_copies")
      .set({ verified_at: at })
      .where("host", "=", row.host)
      .where("backup", "=", result.backup)
      .where("sha256", "=", sha256)
      .execute();
  }
}

/** Whether and when the host still had them stays on record: copies of them may be left. */
async function markPruned(tx: Transaction<Schema>, { host, dir, pruned }: PrunedRow, at: number): Promise<void> {
  for (const backup of pruned) {
    await tx
      .updateTable("backups")
      .set({ pruned_at: at })
      .where("host", "=", host)
      .where("backup", "=", backup)
      .where("dir", "=", dir)
      .execute();
  }
}

function toRun(row: Schema["runs"]): RunRow {
  return {
    id: row.id,
    plan: row.plan_id,
    kind: row.kind as PlanKind,
    to: row.target,
    check: row.check_only === 1,
    startedAt: row.started_at,
    startedBy: row.started_by,
    endedAt: row.ended_at,
    result: row.result as RunResult | null,
  };
}
