import { BackupResult, BelayError, decoder, type Outcome, type StoredCopy } from "@belay/shared";
import Type from "typebox";
import type { BackupView, RestoreAnswer } from "../../api/contract.js";
import { lostIn } from "../../execute/kept.js";
import { personOf } from "../access.js";
import { AcceptRisks, Name, Reason } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const operator = { config: { access: "operator" } } as const;
/** Reading a large backend back takes its time; whoever asked can give up earlier. */
const VERIFY_TIMEOUT_MS = 10 * 60_000;
const BackupName = Type.String({ minLength: 1, maxLength: 256 });
const RestoreBody = Type.Object(
  {
    reason: Type.Optional(Reason),
    safetyBackup: Type.Optional(Type.Boolean()),
    acceptRisks: Type.Optional(AcceptRisks),
    planOnly: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
const decodeResult = decoder(BackupResult, "result of a backup", "result-malformed");

export function backupRoutes(server: Server, { records, errands, copies, presence, restores, now }: Services): void {
  const query = Type.Object({ host: Type.Optional(Name), run: Type.Optional(Name) });

  server.get("/v1/backups", { ...viewer, schema: { querystring: query } }, async (request): Promise<BackupView[]> => {
    const { host, run } = request.query;
    const found = await records.backups({
      ...(host === undefined ? {} : { host }),
      ...(run === undefined ? {} : { run }),
    });
    return found.map(withoutFolder);
  });

  server.post(
    "/v1/backups/:host/:backup/verify",
    {
      ...operator,
      schema: {
        params: Type.Object({ host: Name, backup: BackupName }),
        querystring: Type.Object({ copy: Type.Optional(Type.Literal("1")) }),
      },
    },
    async (request): Promise<BackupView> => {
      const { host, backup } = request.params;
      const known = await records.backup(host, backup);
      const wanted = request.query.copy === "1" ? copyOf(known) : null;
      if (wanted !== null && !presence.isPresent(host)) return compared(host, backup);
      const op = { kind: "verify-backup", id: backup, dir: known.dir } as const;
      const outcome = await errands.ask(host, wanted === null ? op : { ...op, copy: wanted }, VERIFY_TIMEOUT_MS);
      if (wanted !== null && isWithoutKey(outcome)) return compared(host, backup);
      if (lostIn(op, outcome) !== null) await records.backupVerified(host, backup, null);
      if (outcome.status !== "done") throw BelayError.from(outcome.error);
      const result = decodeResult(outcome.result);
      if (result.sha256 !== known.sha256) {
        if (wanted === null) await records.backupVerified(host, backup, null);
        throw new BelayError("backup-differs", `${backup} on ${host} is whole, but not the one that was made`, {
          hint: "Somebody replaced it. Make a new one before you go on.",
          context: { recorded: known.sha256, found: result.sha256 },
        });
      }
      // A host that believes approvers alone compares digests only. What is on record here was read back wholly when it was made, so
      // those that are still the same are enough, whatever was found in between.
      if (wanted === null) await records.backupVerified(host, backup, now());
      else await records.copyVerified(host, backup, wanted.sha256, now());
      return viewOf(host, backup);
    },
  );

  server.post(
    "/v1/backups/:host/:backup/restore",
    { ...operator, schema: { params: Type.Object({ host: Name, backup: BackupName }), body: RestoreBody } },
    (request): Promise<RestoreAnswer> =>
      restores.restore(request.params.host, request.params.backup, { ...request.body, by: personOf(request).name }),
  );

  server.get(
    "/v1/backups/:host/:backup",
    { ...viewer, schema: { params: Type.Object({ host: Name, backup: BackupName }) } },
    (request): Promise<BackupView> => viewOf(request.params.host, request.params.backup),
  );

  /** The host alone can open an encrypted copy, if it has a key. Without, the bytes are compared with what was stored. */
  async function compared(host: string, backup: string): Promise<BackupView> {
    await copies.verify(host, backup);
    return viewOf(host, backup);
  }

  async function viewOf(host: string, backup: string): Promise<BackupView> {
    return withoutFolder(await records.backup(host, backup));
  }
}

/** Most keep the key to their copies off the hosts until it is needed. */
function isWithoutKey(outcome: Outcome): boolean {
  return outcome.status === "failed" && outcome.error.code === "identity-missing";
}

/** What the newest copy of a backup must be. Throws `copy-unknown`. */
function copyOf({ host, backup, copies: [newest] }: BackupView): StoredCopy {
  if (newest !== undefined) {
    return { sha256: newest.sha256, bytes: newest.bytes, encrypted: newest.encrypted };
  }
  throw new BelayError("copy-unknown", `no copy of ${backup} of ${host} is kept here`, {
    hint: "fleet.yaml says which backups leave their hosts (backups.copy).",
  });
}

function withoutFolder({ dir: _, ...view }: BackupView & { dir: string }): BackupView {
  return view;
}
