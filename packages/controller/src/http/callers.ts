import type { IncomingMessage } from "node:http";
import { bearerToken, hashToken } from "../bearer-token.js";
import type { Peers } from "../identity/peers.js";

/**
 * Says which host a request is of: by the certificate of its TLS connection. A token in the clear counts only where
 * belayd.yaml says so, and only on a connection that never leaves this machine, which is all that `listen` takes.
 */
export function hostCallers(parts: {
  peers: Peers;
  plaintextTokens: boolean;
  hostOfToken: (hash: string) => Promise<string | null>;
}): (request: IncomingMessage) => Promise<string | null> {
  return async (request) => {
    const certificate = parts.peers.certificateOf(request);
    if (certificate !== null) return certificate.host;
    if (!parts.plaintextTokens || "encrypted" in request.socket) return null;
    const token = bearerToken(request.headers.authorization);
    return token === null ? null : parts.hostOfToken(hashToken(token));
  };
}
