import java.util.List;

/** RabbitMQ's Java client against a broker: what applications do, and the errors they match on. */
public final class Main {
  public static void main(String[] arguments) {
    Checks.run(
        List.of(
            new Checks.Check("properties and headers round trip", Messages::propertiesRoundTrip),
            new Checks.Check("bodies of all sizes", Messages::bodiesOfAllSizes),
            new Checks.Check("confirms", Messages::confirms),
            new Checks.Check("a full queue nacks", Messages::fullQueueNacks),
            new Checks.Check("returns before confirms", Messages::returnsBeforeConfirms),
            new Checks.Check("consume with prefetch", Messages::consumeWithPrefetch),
            new Checks.Check("prefetch of the channel", Messages::prefetchOfTheChannel),
            new Checks.Check("nack, reject and recover", Messages::nackRejectAndRecover),
            new Checks.Check("get until empty", Messages::getUntilEmpty),
            new Checks.Check("rpc", Messages::rpc),
            new Checks.Check("transactions", Messages::transactions),
            new Checks.Check("a deleted queue cancels its consumer", Messages::cancelledConsumer),
            new Checks.Check("server-named queues", Topology::serverNamedQueues),
            new Checks.Check("exchanges of every type", Topology::exchangesOfEveryType),
            new Checks.Check("exchange to exchange", Topology::exchangeToExchange),
            new Checks.Check("methods without an answer", Topology::withoutWaiting),
            new Checks.Check("exclusive queues", Topology::exclusiveQueues),
            new Checks.Check("auto-delete queues", Topology::autoDeleteQueues),
            new Checks.Check("refused declarations and deletions", Topology::refusals),
            new Checks.Check("dead letters", Kinds::deadLetters),
            new Checks.Check("priorities", Kinds::priorities),
            new Checks.Check("a single active consumer", Kinds::singleActiveConsumer),
            new Checks.Check("quorum queues", Kinds::quorumQueues),
            new Checks.Check("streams", Kinds::streams),
            new Checks.Check("Spring declares again", Spring::declaresAgain),
            new Checks.Check("Spring's anonymous queues", Spring::anonymousQueues),
            new Checks.Check("Spring looks for queues", Spring::missingQueues),
            new Checks.Check("Spring's exclusive listeners", Spring::exclusiveListeners),
            new Checks.Check("Spring's many channels", Spring::manyChannels),
            new Checks.Check("Spring's transacted listener", Spring::transactedListener),
            new Checks.Check("Spring's direct replies", Spring::directReplies),
            new Checks.Check("tls, and a certificate as the login", Tls::passwordsAndCertificates),
            new Checks.Check("server properties", Connections::serverProperties),
            new Checks.Check("negotiation", Connections::negotiation),
            new Checks.Check("heartbeats", Connections::heartbeats),
            new Checks.Check("bad logins", Connections::badLogins),
            new Checks.Check("connection errors", Connections::connectionErrors),
            new Checks.Check(
                "errors that no call waits for", Connections::channelErrorsNobodyWaitsFor),
            new Checks.Check("a forced close is seen", Connections::forcedClose),
            new Checks.Check("recovery after a forced close", Connections::recovery),
            new Checks.Check("a blocked connection", Connections::blocked)));
  }

  private Main() {}
}
