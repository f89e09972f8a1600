import { Readable } from "node:stream";
import { BelayError } from "@belay/shared";
import Type from "typebox";
import { personOf } from "../access.js";
import { CommandBody, VersionText } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const operator = { config: { access: "operator" } } as const;
const host = { config: { access: "host" } } as const;
const versionParams = Type.Object({ version: VersionText });
const AddQuery = Type.Object({
  file: Type.String({ minLength: 1, maxLength: 255, pattern: "^[A-Za-z0-9._+-]+$" }),
  sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
});

/** Releases for people; their bytes for agents. */
export function releaseRoutes(server: Server, { shelf, artifacts }: Services): void {
  // The body is handed on as a stream: 200 MB has no place in memory.
  server.addContentTypeParser(
    "application/octet-stream",
    { bodyLimit: Number.MAX_SAFE_INTEGER },
    (_request, body, next) => next(null, body),
  );

  server.get("/v1/releases", viewer, () => shelf.list());

  server.post(
    "/v1/releases",
    { config: { access: "operator", takes: "bytes" }, schema: { querystring: AddQuery } },
    (request) => {
      const { body } = request;
      if (!(body instanceof Readable)) {
        throw new BelayError("request-refused", "a release is sent as it is, as application/octet-stream", {
          hint: "belay release add FILE does so.",
        });
      }
      return shelf.add(request.query.file, request.query.sha256, body);
    },
  );

  server.post(
    "/v1/releases/:version/block",
    { ...operator, schema: { params: versionParams, body: CommandBody } },
    (request) => {
      const { reason } = request.body;
      if (reason === undefined || reason.trim() === "") {
        throw new BelayError("reason-missing", "a release is blocked for a reason", { hint: "Say it: --reason TEXT" });
      }
      return shelf.block(request.params.version, personOf(request).name, reason);
    },
  );
  server.post(
    "/v1/releases/:version/unblock",
    { ...operator, schema: { params: versionParams, body: CommandBody } },
    (request) => shelf.clear(request.params.version, "blocked"),
  );
  server.post(
    "/v1/releases/:version/clear",
    { ...operator, schema: { params: versionParams, body: CommandBody } },
    (request) => shelf.clear(request.params.version, "suspect"),
  );

  server.get(
    "/v1/artifacts/:sha256",
    { ...host, schema: { params: Type.Object({ sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }) }) } },
    async (request, reply) => {
      const { sha256 } = request.params;
      const size = await artifacts.sizeOf(sha256);
      if (size === null) {
        throw new BelayError("artifact-unknown", `no artifact ${sha256} is stored here`, {
          hint: "belay release add FILE",
        });
      }
      const range = readRange(request.headers.range, size);
      reply.header("accept-ranges", "bytes").header("etag", `"${sha256}"`).type("application/octet-stream");
      if (range === null) return reply.header("content-length", size).send(artifacts.read(sha256, 0, size - 1));
      if (range === "unsatisfiable") return reply.status(416).header("content-range", `bytes */${size}`).send();
      return reply
        .status(206)
        .header("content-range", `bytes ${range.start}-${range.end}/${size}`)
        .header("content-length", range.end - range.start + 1)
        .send(artifacts.read(sha256, range.start, range.end));
    },
  );
}

/** One range of bytes (RFC 9110); null for the whole. Several ranges at once are answered with the whole, as it allows. */
function readRange(header: string | undefined, size: number): { start: number; end: number } | "unsatisfiable" | null {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  if (match === null) return null;
  const start = Number(match[1]);
  const end = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start > end ? "unsatisfiable" : { start, end };
}
