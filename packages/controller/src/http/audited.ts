import type { FastifyRequest } from "fastify";
import { pick } from "../audit/detail.js";
import type { Detail, NewEntry, Who } from "../audit/entry.js";
import type { AuditLog } from "../audit/log.js";
import type { RefusalTally } from "../audit/tally.js";
import { AUDITED_ROUTES, type AuditedRoute } from "./audited-routes.js";
import type { Server } from "./server.js";

const READING: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
const NOBODY: Who = { name: "nobody", how: "nothing" };

declare module "fastify" {
  interface FastifyRequest {
    /** What the audit log has of this request so far; null: it changes nothing, or was turned away before it could. */
    audited: { readonly seq: number; answer: unknown } | null;
  }
}

/**
 * Puts every request that may change something on record: before its route does anything, and before whoever asked hears
 * how it ended. What can't be put on record is not done. To be called before the routes are added.
 */
export function auditRequests(
  server: Server,
  parts: {
    audit: Pick<AuditLog, "record" | "append">;
    refusals: RefusalTally;
    /** How something was before it is changed; empty: nothing worth keeping. */
    before: (action: string, about: Detail) => Promise<Detail>;
  },
): void {
  const { audit, refusals } = parts;
  server.decorateRequest("audited", null);

  server.addHook("preHandler", async (request) => {
    if (!changes(request)) return;
    const { action, about } = subjectOf(request);
    const before = await parts.before(action, about);
    const entry = { ...opening(request), action, phase: "asked", about } as const;
    const seq = await audit.record(Object.keys(before).length === 0 ? entry : { ...entry, before });
    request.audited = { seq, answer: null };
  });

  server.addHook("preSerialization", async (request, _reply, answer) => {
    if (request.audited !== null) request.audited.answer = answer;
    return answer;
  });

  server.addHook("onSend", async (request, reply, payload) => {
    if (reply.statusCode === 401) refusals.count(request.ip);
    if (!changes(request)) return payload;
    const { audited } = request;
    // Only what was known to be somebody: strangers are counted, or they could fill the log.
    if (audited === null && reply.statusCode !== 403) return payload;
    // Should this fail, the answer becomes an error, on the same way out: it is said once.
    request.audited = null;
    const { action, about, answer } = subjectOf(request);
    const entry: NewEntry = { ...opening(request), action, phase: "refused", about };
    const of = audited === null ? {} : { of: audited.seq };
    if (reply.statusCode < 400) {
      const after = pick(audited?.answer, answer);
      await audit.append({ ...entry, ...of, phase: "done", ...(Object.keys(after).length === 0 ? {} : { after }) });
    } else await audit.append({ ...entry, ...of, error: codeOf(audited?.answer ?? payload) });
    return payload;
  });
}

function changes({ method, is404 }: FastifyRequest): boolean {
  return !is404 && !READING.has(method);
}

function subjectOf(request: FastifyRequest): { action: NewEntry["action"]; about: Detail; answer: readonly string[] } {
  const route = `${request.method} ${request.routeOptions.url}`;
  const known: AuditedRoute | undefined = AUDITED_ROUTES[route];
  if (known === undefined) return { action: "other", about: { route }, answer: [] };
  const { action, params = [], query = [], body = [], answer = [] } = known;
  const about = { ...pick(request.params, params), ...pick(request.query, query), ...pick(request.body, body) };
  return { action, about, answer };
}

function opening(request: FastifyRequest): Pick<NewEntry, "who" | "from"> {
  const { localAddress = "", localPort = 0 } = request.socket;
  const door = `${request.protocol} ${localAddress}:${localPort}`;
  return { who: whoOf(request), from: { address: request.ip, door } };
}

function whoOf({ caller }: FastifyRequest): Who {
  switch (caller.kind) {
    case "person":
      return { name: caller.name, how: caller.via };
    case "host":
      return { name: caller.host, how: "a host's own token" };
    case "anyone":
      return NOBODY;
  }
}

function codeOf(answer: unknown): string {
  try {
    const value = typeof answer === "string" ? JSON.parse(answer) : answer;
    const { error } = value as { error?: { code?: string } };
    return error?.code ?? "unknown";
  } catch {
    return "unknown";
  }
}
