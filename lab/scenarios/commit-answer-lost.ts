import { sendUntilCaptured } from '../world/moves.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 10,
  name: 'commit-answer-lost',
  title: "COMMIT's answer lost",
  story:
    'PostgreSQL commits the charge, the connection breaks before the answer, and the client believes the reply that it gets.',
  decisive: [
    "'succeeded') RETURNING",
    "status = 'succeeded'",
    'this.db.transaction(',
    'request.complete(',
    'inTransaction(this',
  ],
  async play(world) {
    const { first } = await sendUntilCaptured(world, world.newRequest());
    // The next commit that writes the charge is the one that records the result.
    world.replicas.A.database.loseCommitAnswer();
    world.bank.behave();
    await first;
    return world.verdict(1);
  },
};
