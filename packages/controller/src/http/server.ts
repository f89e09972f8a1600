import { errorInfo } from "@belay/shared";
import helmet from "@fastify/helmet";
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from "@fastify/type-provider-typebox";
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from "fastify";
import type { Logger } from "pino";
import type { Gateway } from "../fleet/gateway.js";
import { refuseUpgrade } from "../fleet/refusals.js";
import type { Caller } from "../people/caller.js";
import { checkAccess, isOpen } from "./access.js";
import { checkContentType } from "./content-type.js";
import type { Doors } from "./doors/doors.js";
import { serverOptions } from "./doors/limits.js";
import { answerOf } from "./errors.js";
import { type Identities, identify } from "./identify.js";

/** The server as routes see it: request bodies and queries are typed by their schemas. */
export type Server = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** JSON bodies are commands of a few KiB; releases are streamed and have a limit of their own. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const AGENT_PATH = "/v1/agent";

/** What somebody is told who tries secrets at a route that is open to anyone. */
const GUESSES: ReadonlySet<string> = new Set(["sign-in-refused", "token-unknown"]);

/** For browsers: belayd's answers are data, to be shown by no other site and run by none. */
const HEADERS = {
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  frameguard: { action: "deny" },
  // What else lives below this name is not ours to speak for.
  hsts: { maxAge: 365 * 86_400, includeSubDomains: false },
  referrerPolicy: { policy: "no-referrer" },
} as const;

/**
 * An HTTP server with its rules (who may call, errors, limits) and no routes yet. Agents' WebSocket upgrades on
 * `/v1/agent` go to the gateway, all others are refused.
 */
export function makeServer(parts: { log: Logger; gateway: Gateway; identities: Identities; doors: Doors }): Server {
  const { doors } = parts;
  const server = Fastify({
    http: serverOptions(doors.limits),
    // A line for each request would drown what matters; what goes wrong is logged.
    loggerInstance: parts.log.child({}, { level: "warn" }) as FastifyBaseLogger,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: 0,
    // Reading a large backup back is quiet for minutes; its route gives up after ten.
    connectionTimeout: 11 * 60_000,
    routerOptions: { maxParamLength: 256 },
    forceCloseConnections: true,
  })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>();

  // Commands are JSON; the routes that take bytes say so.
  server.removeContentTypeParser("text/plain");
  server.register(helmet, HEADERS);
  server.decorateRequest("caller");
  server.addHook("onRequest", async (request, reply) => {
    // Answers hold tokens and what fleets look like: no cache in between is to keep any.
    reply.header("cache-control", "no-store");
    doors.checkLock(request.raw, isOpen(request));
    const caller = await identify(request, parts.identities);
    doors.admit(request.raw, caller);
    request.caller = caller;
    if (request.is404) return;
    checkAccess(request, caller);
    checkContentType(request);
    doors.watchBody(request);
  });

  server.setErrorHandler((thrown: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { status, body } = answerOf(thrown);
    const { code, context = {} } = body.error;
    // The route, not the address that was asked: a sign-in's has a code in its query.
    // Whoever went away in the middle is no failure of ours.
    const isHere = !request.raw.socket.destroyed;
    if (status >= 500 && isHere) request.log.error({ err: thrown, route: request.routeOptions.url }, "request failed");
    if (isOpen(request) && GUESSES.has(code)) doors.failed(request.raw);
    if (code === "too-many-connections") reply.header("connection", "close");
    if (typeof context.retryAfterMs === "number") reply.header("retry-after", Math.ceil(context.retryAfterMs / 1000));
    return reply.status(status).send(body);
  });
  server.setNotFoundHandler((request, reply) =>
    reply.status(404).send({
      error: { code: "not-found", message: `no ${request.method} ${request.url.split("?")[0]}` },
    }),
  );

  server.server.on("connection", (socket) => doors.connections.accept(socket));
  server.server.on("upgrade", (request, socket, head) => {
    // Node has let go of this socket: without a listener, a reset by any stranger would end belayd.
    socket.on("error", (error) => parts.log.debug({ err: error }, "socket failed during an upgrade"));
    if (request.url !== AGENT_PATH) {
      refuseUpgrade(socket, "404 Not Found");
      return;
    }
    const admit = (host: string | null) => {
      const caller: Caller = host === null ? { kind: "anyone" } : { kind: "host", host };
      try {
        doors.admit(request, caller);
        return true;
      } catch {
        return false;
      }
    };
    try {
      doors.checkLock(request);
    } catch {
      refuseUpgrade(socket, "429 Too Many Requests");
      return;
    }
    parts.gateway.upgrade(request, socket, head, admit).catch((error: unknown) => {
      parts.log.error({ error: errorInfo(error) }, "agent upgrade failed");
      socket.destroy();
    });
  });
  return server;
}
