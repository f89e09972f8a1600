import type { FastifyRequest } from "fastify";

export interface BodyPace {
  /** A command is a few KiB: it is there by then. */
  readonly commandMs: number;
  /** What is streamed must bring so many bytes within so long, again and again. */
  readonly streamBytes: number;
  readonly streamMs: number;
}

/** Lets go of a request whose body comes so slowly that only somebody who wants to hold a place sends it so. */
export function watchBody(request: FastifyRequest, pace: BodyPace, isStream: boolean): void {
  const { raw } = request;
  if (raw.headers["content-length"] === undefined && raw.headers["transfer-encoding"] === undefined) return;
  const { socket } = raw;
  let before = socket.bytesRead;
  const look = () => {
    const came = socket.bytesRead - before;
    before = socket.bytesRead;
    // While nobody takes what has come, none can come: that is not the sender's doing.
    if (isStream && (came >= pace.streamBytes || raw.readableFlowing === false || raw.isPaused())) return;
    clearInterval(timer);
    request.log.warn({ url: request.routeOptions.url, came }, "a request's body comes too slowly");
    socket.destroy();
  };
  const timer = setInterval(look, isStream ? pace.streamMs : pace.commandMs).unref();
  const done = () => clearInterval(timer);
  raw.once("end", done);
  raw.once("close", done);
}
