import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const TOKEN = "a-token-for-tests-0123456789";

export interface Asked {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly body: unknown;
}

/** What a route answers: a value (200), a `Refused`, or a function that takes the response over. */
export type Answer =
  | { readonly [field: string]: unknown }
  | readonly unknown[]
  | ((asked: Asked, response: ServerResponse) => unknown);

/** A small belayd that speaks the contract over real HTTP and answers what a test laid down for it. */
export class FakeBelayd {
  readonly asked: Asked[] = [];
  readonly #routes = new Map<string, Answer>();
  #server: Server | null = null;
  #port = 0;

  static async start(routes: Readonly<Record<string, Answer>> = {}): Promise<FakeBelayd> {
    const belayd = new FakeBelayd();
    for (const [route, answer] of Object.entries(routes)) belayd.on(route, answer);
    await belayd.listen();
    return belayd;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** `GET /v1/runs/latest`, without a query. */
  on(route: string, answer: Answer): void {
    this.#routes.set(route, answer);
  }

  /** Listens, the second time on the port it had before. */
  async listen(): Promise<void> {
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Cuts every line, as a crash does. Idempotent. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }

  /** What was asked of one route, in order. */
  askedOf(route: string): Asked[] {
    return this.asked.filter(({ method, path }) => `${method} ${path.split("?")[0]}` === route);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    const isJson = request.headers["content-type"] === "application/json";
    const asked: Asked = {
      method: request.method ?? "",
      path: request.url ?? "",
      body: isJson ? JSON.parse(bytes.toString()) : bytes.toString(),
    };
    this.asked.push(asked);
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      refuse(response, 401, { code: "unauthorized", message: "no valid token" });
      return;
    }
    const answer = this.#routes.get(`${asked.method} ${asked.path.split("?")[0]}`);
    if (answer === undefined) refuse(response, 404, { code: "not-found", message: `no ${asked.method} ${asked.path}` });
    else if (typeof answer === "function") answer(asked, response);
    else send(response, 200, answer);
  }
}

export function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

export function refuse(
  response: ServerResponse,
  status: number,
  error: { readonly code: string; readonly message: string; readonly hint?: string },
): void {
  send(response, status, { error });
}

/** A stream of server-sent events: these, and then the end, unless `open`. */
export function stream(
  event: string,
  values: readonly unknown[],
  open = false,
): (asked: Asked, response: ServerResponse) => void {
  return (_asked, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": still here\n\n");
    for (const value of values) response.write(`event: ${event}\ndata: ${JSON.stringify(value)}\n\n`);
    if (!open) response.end();
  };
}
