import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The client as Spring AMQP uses it: what its templates, listeners and its admin do. */
final class Spring {
  /** At each start everything is declared again, in whatever width the numbers are configured. */
  static void declaresAgain() throws Exception {
    String[] names = {Checks.unique("spring"), Checks.unique("spring"), Checks.unique("spring")};
    for (Number ttl : new Number[] {60_000, 60_000L}) {
      try (Client client = Client.open()) {
        Channel channel = client.channel();
        Map<String, Object> arguments = new HashMap<>();
        arguments.put("x-message-ttl", ttl);
        arguments.put("x-queue-type", "classic");
        arguments.put("x-queue-mode", "lazy");
        arguments.put("x-dead-letter-exchange", names[2]);
        channel.exchangeDeclare(names[2], "topic", true, false, false, new HashMap<>());
        channel.queueDeclare(names[0], true, false, false, arguments);
        channel.queueDeclare(names[1], true, false, false, Map.of("x-queue-type", "quorum"));
        channel.queueBind(names[0], names[2], "a.#", new HashMap<>());
        channel.queueBind(names[1], names[2], "b.#", new HashMap<>());
      }
    }
    try (Client client = Client.open()) {
      client.channel().queueDelete(names[0]);
      client.channel().queueDelete(names[1]);
      client.channel().exchangeDelete(names[2]);
    }
  }

  static void anonymousQueues() throws Exception {
    try (Client client = Client.open()) {
      for (String locator : List.of("x-queue-leader-locator", "x-queue-master-locator")) {
        String name = "spring.gen-" + Checks.unique("anonymous");
        Map<String, Object> arguments = Map.of(locator, "client-local");
        client.channel().queueDeclare(name, false, true, true, arguments);
        Checks.equal(client.channel().queueDeclarePassive(name).getConsumerCount(), 0);
      }
    }
  }

  /** A listener looks for its queues until they are there, on one channel after the other. */
  static void missingQueues() throws Exception {
    try (Client client = Client.open()) {
      String name = Checks.unique("spring");
      for (int attempt = 0; attempt < 20; attempt++) {
        Topology.isMissing(client, name);
      }
      client.channel().queueDeclare(name, false, true, false, null);
      Checks.equal(client.channel().queueDeclarePassive(name).getQueue(), name);
    }
  }

  /** Of two listeners one waits. Spring keeps quiet about this refusal, by its text and method. */
  static void exclusiveListeners() throws Exception {
    try (Client client = Client.open()) {
      Channel first = client.connection().createChannel();
      Client.Deliveries deliveries = new Client.Deliveries(first);
      first.basicConsume(client.queue(), false, "", false, true, Map.of(), deliveries);
      Topology.Attempt attempt =
          channel ->
              channel.basicConsume(
                  client.queue(), false, "", false, true, Map.of(), new Client.Deliveries(channel));
      for (int times = 0; times < 3; times++) {
        Topology.refused(
            client,
            403,
            "ACCESS_REFUSED - queue '" + client.queue() + "' in vhost '/' in exclusive use",
            Cause.CONSUME,
            attempt);
      }
      first.close();
      attempt.make(client.channel());
    }
  }

  /** The channel cache opens many, closes some and opens more. */
  static void manyChannels() throws Exception {
    try (Client client = Client.open()) {
      for (int round = 0; round < 3; round++) {
        List<Channel> channels = new ArrayList<>();
        for (int number = 0; number < 300; number++) {
          channels.add(client.connection().createChannel());
        }
        for (Channel channel : channels) {
          channel.basicPublish("", client.queue(), null, Client.bytes("x"));
          channel.close();
        }
        Checks.becomes(() -> client.channel().messageCount(client.queue()), 300L);
        Checks.equal(client.channel().queuePurge(client.queue()).getMessageCount(), 300);
      }
    }
  }

  /** A transacted listener: what it did and the acknowledgement, or neither. */
  static void transactedListener() throws Exception {
    try (Client client = Client.open()) {
      String answers = client.channel().queueDeclare().getQueue();
      client.publish("job");
      Channel channel = client.connection().createChannel();
      channel.txSelect();
      channel.basicQos(250);
      Client.Deliveries deliveries = new Client.Deliveries(channel);
      channel.basicConsume(client.queue(), false, deliveries);
      Delivery delivery = deliveries.next();
      channel.basicPublish("", answers, null, Client.bytes("half done"));
      channel.txRollback();
      channel.basicNack(delivery.getEnvelope().getDeliveryTag(), true, true);
      channel.txCommit();
      delivery = deliveries.next();
      Checks.equal(delivery.getEnvelope().isRedeliver(), true);
      channel.basicPublish("", answers, null, Client.bytes("done"));
      channel.basicAck(delivery.getEnvelope().getDeliveryTag(), true);
      channel.txCommit();
      Checks.equal(Client.text(client.channel().basicGet(answers, true).getBody()), "done");
      Checks.equal(client.channel().basicGet(answers, true), null);
      Checks.equal(client.channel().messageCount(client.queue()), 0L);
    }
  }

  /** A template asks on a channel, and is answered on the same one. */
  static void directReplies() throws Exception {
    try (Client serving = Client.open();
        Client asking = Client.open()) {
      Client.Deliveries requests = serving.consume(false);
      Client.Deliveries replies = new Client.Deliveries(asking.channel());
      String replyTo = "amq.rabbitmq.reply-to";
      asking.channel().basicConsume(replyTo, true, replies);
      asking
          .channel()
          .basicPublish(
              "",
              serving.queue(),
              true,
              new AMQP.BasicProperties.Builder().replyTo(replyTo).correlationId("1").build(),
              Client.bytes("ask"));
      Delivery request = requests.next();
      String given = request.getProperties().getReplyTo();
      Checks.matches(given, "amq\\.rabbitmq\\.reply-to\\..+");
      // So a server may see whether who asked is still there.
      Checks.equal(serving.channel().queueDeclarePassive(given).getConsumerCount(), 1);
      serving
          .channel()
          .basicPublish(
              "",
              given,
              true,
              new AMQP.BasicProperties.Builder().correlationId("1").build(),
              Client.bytes("answer"));
      Delivery reply = replies.next();
      Checks.equal(Client.text(reply.getBody()), "answer");
      Checks.equal(reply.getProperties().getCorrelationId(), "1");
      Checks.equal(reply.getEnvelope().getRoutingKey(), given);
    }
  }

  private Spring() {}
}
