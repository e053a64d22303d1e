// The chain's HTTP API on a port, for clients that know nothing of this suite: `swarm devnet` if `SWARM` says where the program is,
// else a door to the chain of `chain-stdio`, which holds the same server.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Chain } from './chain.mjs';

export async function serve() {
  return process.env.SWARM ? devnet(process.env.SWARM) : door();
}

async function door() {
  const chain = new Chain();
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const answer = await chain.ask({ do: 'http', verb: request.method, target: request.url, body: Buffer.concat(pieces).toString() });
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.json));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/api/v2`,
    close: () => {
      server.close();
      server.closeAllConnections();
      chain.close();
    },
  };
}

async function devnet(program) {
  const home = mkdtempSync(join(tmpdir(), 'devnet-'));
  const child = spawn(program, ['--json', '--home', home, 'devnet', '--listen', '127.0.0.1:0', '--block-time', '200ms'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((resolve, reject) => {
    child.on('exit', (code) => reject(new Error(`swarm devnet ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = JSON.parse(line).url;
      if (found) resolve(found);
    });
  });
  return {
    url,
    close: () => {
      child.removeAllListeners('exit');
      child.kill('SIGINT');
      rmSync(home, { recursive: true, force: true });
    },
  };
}
