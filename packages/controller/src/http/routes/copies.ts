import { Readable } from "node:stream";
import { BelayError } from "@belay/shared";
import Type from "typebox";
import { Name } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

/** As in ops: it becomes part of a file's name. */
const params = Type.Object({ host: Name, backup: Type.String({ pattern: "^[A-Za-z0-9@_.:-]{1,256}$" }) });
const query = Type.Object({ sha256: Type.Optional(Type.String({ pattern: "^[0-9a-f]{64}$" })) });

/** Copies of backups: a host sends and fetches its own, admins fetch any. The streams' parser is that of the releases. */
export function copyRoutes(server: Server, { copies }: Pick<Services, "copies">): void {
  server.put(
    "/v1/backups/:host/:backup/copy",
    { config: { access: "host", takes: "bytes" }, schema: { params } },
    async (request): Promise<{ sha256: string; bytes: number }> => {
      const { body } = request;
      if (!(body instanceof Readable)) {
        throw new BelayError("request-refused", "a copy is sent as it is, as application/octet-stream");
      }
      return copies.put(request.params.host, request.params.backup, body);
    },
  );

  server.get(
    "/v1/backups/:host/:backup/copy",
    { config: { access: ["admin", "host"] }, schema: { params, querystring: query } },
    async (request, reply) => {
      const { host, backup } = request.params;
      const { copy, body } = await copies.open(host, backup, request.query.sha256);
      return reply
        .type("application/octet-stream")
        .header("content-length", copy.bytes)
        .header("etag", `"${copy.sha256}"`)
        .send(body);
    },
  );
}
