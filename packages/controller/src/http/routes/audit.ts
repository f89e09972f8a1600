import { BelayError } from "@belay/shared";
import Type from "typebox";
import type { AuditPage } from "../../api/contract.js";
import { ACTIONS, type Action } from "../../audit/action.js";
import type { AuditEntry } from "../../audit/entry.js";
import { DEFAULT_LIMIT, Name } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const Time = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ListQuery = Type.Object({
  since: Type.Optional(Time),
  until: Type.Optional(Time),
  who: Type.Optional(Name),
  action: Type.Optional(Type.Unsafe<Action>(Type.Enum([...ACTIONS]))),
  run: Type.Optional(Name),
  host: Type.Optional(Name),
  /** Only what was written before this place: where the page before ended. */
  before: Type.Optional(Time),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
});
/** Looked at for one answer: a filter that fits nothing must not hold belayd up. */
const MAX_SCANNED = 20_000;

/** The audit log: its newest entries first, and its files as c2sp.org/tlog-tiles has them, to be verified elsewhere. */
export function auditRoutes(server: Server, { audit }: Pick<Services, "audit">): void {
  server.get("/v1/audit", { ...viewer, schema: { querystring: ListQuery } }, async (request): Promise<AuditPage> => {
    const { before, limit = DEFAULT_LIMIT, since = 0, ...wanted } = request.query;
    const entries: AuditEntry[] = [];
    let scanned = 0;
    let next: number | null = null;
    for await (const entry of audit.backwards(before)) {
      if (entry.at < since) break;
      if (entries.length === limit || scanned === MAX_SCANNED) {
        next = entry.seq + 1;
        break;
      }
      scanned += 1;
      if (isWanted(entry, wanted)) entries.push(entry);
    }
    return { log: audit.origin, size: audit.size, entries, next };
  });

  server.get(
    "/v1/audit/entries/:seq",
    { ...viewer, schema: { params: Type.Object({ seq: Time }) } },
    async (request): Promise<AuditEntry> => {
      const entry = await audit.entry(request.params.seq);
      if (entry !== null) return entry;
      throw new BelayError("entry-unknown", `the audit log has ${audit.size} entries, and none ${request.params.seq}`, {
        hint: "belay audit list",
      });
    },
  );

  server.get("/v1/audit/files/*", viewer, async (request, reply) => {
    const { "*": path = "" } = request.params as { "*"?: string };
    const bytes = await audit.file(path);
    if (bytes === null) throw new BelayError("audit-file-unknown", `the audit log has no file ${path}`);
    return reply.type("application/octet-stream").send(bytes);
  });
}

function isWanted(
  entry: AuditEntry,
  { until, who, action, run, host }: { until?: number; who?: string; action?: string; run?: string; host?: string },
): boolean {
  if (until !== undefined && entry.at > until) return false;
  if (who !== undefined && entry.who.name !== who) return false;
  if (action !== undefined && entry.action !== action) return false;
  // A command that starts a run learns its name with the answer.
  if (run !== undefined && ![entry.about.run, entry.after?.run, entry.after?.id].some((id) => isRun(id, run)))
    return false;
  return host === undefined || entry.about.host === host;
}

function isRun(id: unknown, wanted: string): boolean {
  return typeof id === "string" && id.startsWith(wanted);
}
