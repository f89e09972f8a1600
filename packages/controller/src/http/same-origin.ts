import { BelayError } from "@belay/shared";
import type { FastifyRequest } from "fastify";
import { isTls } from "./cookies.js";

/**
 * A browser sends its cookie whatever page asked it to. What changes something is believed only where the browser itself
 * says that a page of ours asked: by Sec-Fetch-Site, by Origin, or both, and then both. Throws `cross-site`.
 */
export function checkSameOrigin(request: FastifyRequest): void {
  if (request.method === "GET" || request.method === "HEAD") return;
  const site = request.headers["sec-fetch-site"];
  const { origin, host } = request.headers;
  const own = `${isTls(request) ? "https" : "http"}://${host}`;
  const said = [
    ...(site === undefined ? [] : [site === "same-origin"]),
    ...(origin === undefined ? [] : [origin === own]),
  ];
  if (said.length > 0 && said.every((fits) => fits)) return;
  throw new BelayError("cross-site", "this request does not come from belayd's own pages", {
    hint: "Programs use API tokens (Authorization: Bearer), not a browser's cookie.",
  });
}
