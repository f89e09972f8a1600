import { BelayError } from "@belay/shared";
import type { FastifyRequest } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** What a request's body is; absent: JSON, if there is one. */
    takes?: "bytes";
  }
}

/**
 * A body is what its route takes and says so itself, exactly. A browser sends other types across sites without asking
 * first, and a parser that guesses is one that can be led. Throws `content-type-refused`.
 */
export function checkContentType(request: FastifyRequest): void {
  const { headers, method } = request.raw;
  if (headers["content-length"] === undefined && headers["transfer-encoding"] === undefined) return;
  // DELETE without a body, as some clients send it.
  if (headers["content-length"] === "0" && headers["content-type"] === undefined) return;
  const wanted = request.routeOptions.config.takes === "bytes" ? "application/octet-stream" : "application/json";
  const type = (headers["content-type"] ?? "").toLowerCase();
  if (type === wanted || (wanted === "application/json" && /^application\/json; ?charset=utf-8$/.test(type))) return;
  throw new BelayError(
    "content-type-refused",
    `${method} here takes ${wanted}, not ${type === "" ? "nothing said" : type}`,
  );
}
