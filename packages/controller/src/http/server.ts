import { errorInfo } from "@belay/shared";
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
import { type Gateway, refuseUpgrade } from "../fleet/gateway.js";
import { checkAccess } from "./access.js";
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

/**
 * An HTTP server with its rules (who may call, errors, limits) and no routes yet. Agents' WebSocket upgrades on
 * `/v1/agent` go to the gateway, all others are refused.
 */
export function makeServer(parts: { log: Logger; gateway: Gateway; identities: Identities }): Server {
  const server = Fastify({
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

  server.decorateRequest("caller");
  server.addHook("onRequest", async (request) => {
    if (request.is404) return;
    request.caller = await identify(request, parts.identities);
    checkAccess(request, request.caller);
  });

  server.setErrorHandler((thrown: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { status, body } = answerOf(thrown);
    if (status >= 500) request.log.error({ err: thrown, url: request.url }, "request failed");
    return reply.status(status).send(body);
  });
  server.setNotFoundHandler((request, reply) =>
    reply.status(404).send({
      error: { code: "not-found", message: `no ${request.method} ${request.url.split("?")[0]}` },
    }),
  );

  server.server.on("upgrade", (request, socket, head) => {
    // Node has let go of this socket: without a listener, a reset by any stranger would end belayd.
    socket.on("error", (error) => parts.log.debug({ err: error }, "socket failed during an upgrade"));
    if (request.url !== AGENT_PATH) {
      refuseUpgrade(socket, "404 Not Found");
      return;
    }
    parts.gateway.upgrade(request, socket, head).catch((error: unknown) => {
      parts.log.error({ error: errorInfo(error) }, "agent upgrade failed");
      socket.destroy();
    });
  });
  return server;
}
