import type { FastifyRequest } from "fastify";
import { pick } from "../audit/detail.js";
import type { Detail, NewEntry, Who } from "../audit/entry.js";
import type { AuditLog } from "../audit/log.js";
import type { RefusalTally } from "../audit/tally.js";
import type { Caller } from "../people/caller.js";
import { AUDITED_ROUTES } from "./audited-routes.js";
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
    const subject = subjectOf(request);
    if (subject === null) return;
    const { action, about } = subject;
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
    // Strangers are counted: a line for each of their attempts would let them fill the log.
    if (reply.statusCode === 401 || (reply.statusCode >= 400 && isStranger(request))) refusals.count(request.ip);
    const { audited } = request;
    const subject = isStranger(request) ? null : subjectOf(request);
    // A caller who is known, and was turned away before anything was looked at, is on record only where they may not.
    if (subject === null || (audited === null && reply.statusCode !== 403)) return payload;
    // Should this fail, the answer becomes an error, on the same way out: it is said once.
    request.audited = null;
    const { action, about, answer } = subject;
    const entry: NewEntry = { ...opening(request), action, phase: "refused", about };
    const of = audited === null ? {} : { of: audited.seq };
    if (reply.statusCode < 400) {
      const after = pick(audited?.answer, answer);
      await audit.append({ ...entry, ...of, phase: "done", ...(Object.keys(after).length === 0 ? {} : { after }) });
    } else await audit.append({ ...entry, ...of, error: codeOf(audited?.answer ?? payload) });
    return payload;
  });
}

/** What a request would change, and what of it is kept; null: nothing that is for here to put on record. */
function subjectOf(
  request: FastifyRequest,
): { action: NewEntry["action"]; about: Detail; answer: readonly string[] } | null {
  const { method, is404, routeOptions } = request;
  if (is404 || READING.has(method)) return null;
  const route = `${method} ${routeOptions.url}`;
  const known = AUDITED_ROUTES[route];
  if (known === null) return null;
  if (known === undefined) return { action: "other", about: { route }, answer: [] };
  const { action, params = [], query = [], body = [], answer = [] } = known;
  const about = { ...pick(request.params, params), ...pick(request.query, query), ...pick(request.body, body) };
  return { action, about, answer };
}

function opening(request: FastifyRequest): Pick<NewEntry, "who" | "from"> {
  return { who: whoOf(request), from: whereFrom(request) };
}

/** The address that a request came from, and the door it came in at. */
export function whereFrom(request: FastifyRequest): NewEntry["from"] {
  const { localAddress = "", localPort = 0 } = request.socket;
  const scheme = "encrypted" in request.socket ? "https" : "http";
  return { address: request.ip, door: `${scheme} ${localAddress}:${localPort}` };
}

/** Whoever was turned away before anybody looked has no caller yet. */
function isStranger(request: FastifyRequest): boolean {
  const caller: Caller | undefined = request.caller;
  return caller === undefined || caller.kind === "anyone";
}

function whoOf({ caller, socket }: FastifyRequest): Who {
  switch (caller.kind) {
    case "person":
      return { name: caller.name, how: caller.via };
    case "host":
      return { name: caller.host, how: "encrypted" in socket ? "its certificate" : "its token, in the clear" };
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
