import { BackupResult, BelayError, decoder } from "@belay/shared";
import Type from "typebox";
import type { BackupView } from "../../api/contract.js";
import { Name } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const person = { config: { caller: "person" } } as const;
/** Reading a large backend back takes its time; whoever asked can give up earlier. */
const VERIFY_TIMEOUT_MS = 10 * 60_000;
const BackupName = Type.String({ minLength: 1, maxLength: 256 });
const decodeResult = decoder(BackupResult, "result of a backup", "result-malformed");

export function backupRoutes(server: Server, { records, errands, now }: Services): void {
  const query = Type.Object({ host: Type.Optional(Name), run: Type.Optional(Name) });

  server.get("/v1/backups", { ...person, schema: { querystring: query } }, async (request): Promise<BackupView[]> => {
    const { host, run } = request.query;
    const found = await records.backups({
      ...(host === undefined ? {} : { host }),
      ...(run === undefined ? {} : { run }),
    });
    return found.map(withoutFolder);
  });

  server.post(
    "/v1/backups/:host/:backup/verify",
    { ...person, schema: { params: Type.Object({ host: Name, backup: BackupName }) } },
    async (request): Promise<BackupView> => {
      const { host, backup } = request.params;
      const [known] = await records.backups({ host, backup });
      if (known === undefined) {
        throw new BelayError("backup-unknown", `${host} has no backup ${backup}`, {
          hint: "`belay backup list` shows them.",
        });
      }
      const outcome = await errands.ask(host, { kind: "verify-backup", id: backup, dir: known.dir }, VERIFY_TIMEOUT_MS);
      if (outcome.status !== "done") throw BelayError.from(outcome.error);
      const result = decodeResult(outcome.result);
      if (result.sha256 !== known.sha256) {
        throw new BelayError("backup-differs", `${backup} on ${host} is whole, but not the one that was made`, {
          hint: "Somebody replaced it. Make a new one before you go on.",
          context: { recorded: known.sha256, found: result.sha256 },
        });
      }
      const at = now();
      await records.backupVerified(host, backup, at);
      return withoutFolder({ ...known, verifiedAt: at });
    },
  );
}

function withoutFolder({ dir: _, ...view }: BackupView & { dir: string }): BackupView {
  return view;
}
