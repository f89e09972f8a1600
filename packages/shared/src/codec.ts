import type { Static, TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { BelayError } from "./error.js";
import { AgentMessage, ControllerMessage, MAX_FRAME_BYTES } from "./message.js";
import { Op } from "./op.js";

/** Turns unknown input into a typed value, or throws a BelayError that names the field. The only way in from outside. */
export type Decoder<T> = (input: unknown) => T;

/** A decoder for parsed JSON. `what` names the thing in errors; `code` is the error's code. Compiles once: call at load. */
export function decoder<S extends TSchema>(schema: S, what: string, code: string): Decoder<Static<S>> {
  const validator = Compile(schema);
  return (input) => {
    if (validator.Check(input)) return input as Static<S>;
    const first = validator.Errors(input)[0];
    const field = first?.instancePath ? first.instancePath : "/";
    throw new BelayError(code, `${what}: ${field} ${first?.message ?? "is not valid"}`, { context: { field } });
  };
}

const agentMessage = decoder(AgentMessage, "agent message", "message-malformed");
const controllerMessage = decoder(ControllerMessage, "controller message", "message-malformed");

/** Decodes one text frame from an agent. Throws `message-malformed` or `message-too-large`. */
export function decodeAgentMessage(frame: string): AgentMessage {
  return agentMessage(parseFrame(frame));
}

/** Decodes one text frame from the controller. Throws `message-malformed` or `message-too-large`. */
export function decodeControllerMessage(frame: string): ControllerMessage {
  return controllerMessage(parseFrame(frame));
}

export const decodeOp: Decoder<Op> = decoder(Op, "op", "op-malformed");

export function encode(message: AgentMessage | ControllerMessage): string {
  return JSON.stringify(message);
}

function parseFrame(frame: string): unknown {
  if (frame.length > MAX_FRAME_BYTES) {
    throw new BelayError("message-too-large", `a frame of ${frame.length} characters; the limit is ${MAX_FRAME_BYTES}`);
  }
  try {
    return JSON.parse(frame);
  } catch (cause) {
    throw new BelayError("message-malformed", "a frame that is not JSON", { cause });
  }
}
