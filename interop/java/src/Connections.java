import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoverableConnection;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.ShutdownSignalException;
import com.rabbitmq.client.impl.recovery.AutorecoveringConnection;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** How connections open, live, end and come back. */
final class Connections {
  private static final String SHUTDOWN =
      "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

  static void serverProperties() throws Exception {
    try (Client client = Client.open()) {
      Map<String, Object> properties = client.connection().getServerProperties();
      Checks.equal(properties.get("product").toString(), "RabbitMQ");
      Checks.matches(properties.get("version").toString(), "[4-9]\\.\\d+\\.\\d+");
      Map<?, ?> capabilities = (Map<?, ?>) properties.get("capabilities");
      for (String name :
          List.of(
              "publisher_confirms",
              "exchange_exchange_bindings",
              "basic.nack",
              "consumer_cancel_notify",
              "connection.blocked",
              "consumer_priorities",
              "authentication_failure_close",
              "per_consumer_qos",
              "direct_reply_to")) {
        Checks.equal(capabilities.get(name), true);
      }
    }
  }

  static void negotiation() throws Exception {
    try (Connection connection = Client.connect()) {
      Checks.equal(connection.getChannelMax(), 2047);
      Checks.equal(connection.getFrameMax(), 131_072);
      Checks.equal(connection.getHeartbeat(), 60);
    }
    try (Connection connection =
        Client.connect(
            factory -> {
              factory.setRequestedChannelMax(2);
              factory.setRequestedFrameMax(8192);
              factory.setRequestedHeartbeat(5);
            })) {
      Checks.equal(connection.getChannelMax(), 2);
      Checks.equal(connection.getFrameMax(), 8192);
      Checks.equal(connection.getHeartbeat(), 5);
      connection.createChannel();
      connection.createChannel();
      Checks.equal(connection.createChannel(), null);
    }
  }

  static void heartbeats() throws Exception {
    Connection connection = Client.connect(factory -> factory.setRequestedHeartbeat(1));
    try (Client client = Client.on(connection)) {
      Checks.equal(connection.getHeartbeat(), 1);
      // Longer than either side waits for a sign of life.
      Thread.sleep(4000);
      client.publish("alive");
      Checks.equal(client.take(), "alive");
    }
  }

  static void badLogins() throws Exception {
    AuthenticationFailureException refused =
        Checks.thrown(
            AuthenticationFailureException.class,
            () -> Client.connect(factory -> factory.setPassword("wrong")));
    Checks.equal(
        refused.getMessage(),
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
            + "For details see the broker logfile.");
    Checks.refused(
        530,
        "NOT_ALLOWED - vhost missing not found",
        Cause.CONNECTION_OPEN,
        () -> Client.connect(factory -> factory.setVirtualHost("missing")));
  }

  static void connectionErrors() throws Exception {
    closes(
        530,
        "NOT_ALLOWED - attempt to reuse consumer tag 'me'",
        Cause.CONSUME,
        client -> {
          // The library itself would not.
          AMQP.Basic.Consume consume =
              new AMQP.Basic.Consume.Builder().queue(client.queue()).consumerTag("me").build();
          client.channel().rpc(consume);
          client.channel().rpc(consume);
        });
    closes(
        540,
        "NOT_IMPLEMENTED - prefetch_size!=0 (10)",
        Cause.QOS,
        client -> client.channel().basicQos(10, 1, false));
    closes(
        540,
        "NOT_IMPLEMENTED - requeue=false",
        Cause.RECOVER,
        client -> client.channel().basicRecover(false));
    closes(
        540,
        "NOT_IMPLEMENTED - active=false",
        Cause.CHANNEL_FLOW,
        client -> client.channel().rpc(new AMQP.Channel.Flow.Builder().active(false).build()));
    closes(
        540,
        "NOT_IMPLEMENTED - immediate=true",
        Cause.PUBLISH,
        client -> {
          client.channel().basicPublish("", client.queue(), false, true, null, new byte[1]);
          client.channel().messageCount(client.queue());
        });
  }

  interface Attempt {
    void make(Client client) throws Exception;
  }

  private static void closes(int code, String text, Cause cause, Attempt attempt) throws Exception {
    try (Client client = Client.open()) {
      BlockingQueue<ShutdownSignalException> ends = new LinkedBlockingQueue<>();
      client.connection().addShutdownListener(ends::add);
      Checks.refused(code, text, cause, () -> attempt.make(client));
      ShutdownSignalException end = Checks.next(ends);
      Checks.equal(end.isHardError(), true);
      Checks.closed(end, code, text, cause);
    }
  }

  static void channelErrorsNobodyWaitsFor() throws Exception {
    try (Client client = Client.open()) {
      String missing = Checks.unique("missing");
      ends(
          client,
          404,
          "NOT_FOUND - no exchange '" + missing + "' in vhost '/'",
          Cause.PUBLISH,
          ch -> ch.basicPublish(missing, "", null, new byte[10]));
      ends(
          client,
          406,
          "PRECONDITION_FAILED - unknown delivery tag 7",
          Cause.ACK,
          ch -> ch.basicAck(7, false));
      ends(
          client,
          406,
          "PRECONDITION_FAILED - unknown delivery tag 7",
          Cause.NACK,
          ch -> ch.basicNack(7, true, true));
      ends(
          client,
          406,
          "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was "
              + "'guest'",
          Cause.PUBLISH,
          ch ->
              ch.basicPublish(
                  "",
                  client.queue(),
                  new AMQP.BasicProperties.Builder().userId("other").build(),
                  new byte[0]));
    }
  }

  private static void ends(
      Client client, int code, String text, Cause cause, Topology.Attempt attempt)
      throws Exception {
    Channel channel = client.connection().createChannel();
    BlockingQueue<ShutdownSignalException> ends = new LinkedBlockingQueue<>();
    channel.addShutdownListener(ends::add);
    attempt.make(channel);
    ShutdownSignalException end = Checks.next(ends);
    Checks.equal(end.isHardError(), false);
    Checks.closed(end, code, text, cause);
  }

  static void forcedClose() throws Exception {
    try (Client client = Client.open()) {
      String name = Checks.unique("java");
      client.channel().queueDeclare(name, true, false, false, null);
      client.channel().confirmSelect();
      client
          .channel()
          .basicPublish("", name, MessageProperties.MINIMAL_PERSISTENT_BASIC, Client.bytes("kept"));
      client.channel().waitForConfirmsOrDie(Checks.PATIENCE_SECONDS * 1000);
      client.publish("", name, "lost");
      BlockingQueue<ShutdownSignalException> ends = new LinkedBlockingQueue<>();
      client.connection().addShutdownListener(ends::add);
      Client.Deliveries deliveries = client.consume(false);
      Checks.restartBroker();
      Checks.closed(Checks.next(ends), 320, SHUTDOWN, Cause.NONE);
      Checks.closed(Checks.next(deliveries.ended), 320, SHUTDOWN, Cause.NONE);
      try (Client next = Client.open()) {
        Checks.equal(Client.text(next.channel().basicGet(name, true).getBody()), "kept");
        Checks.equal(next.channel().basicGet(name, true), null);
        next.channel().queueDelete(name);
      }
    }
  }

  /** The library declares everything again, and names what the broker named. */
  static void recovery() throws Exception {
    Connection connection = Client.connect(factory -> factory.setNetworkRecoveryInterval(100));
    try (Client client = Client.on(connection)) {
      Channel channel = client.channel();
      String exchange = Checks.unique("java");
      String work = Checks.unique("java");
      channel.exchangeDeclare(exchange, "fanout", false, true, null);
      channel.queueDeclare(work, true, false, false, Map.of("x-message-ttl", 600_000L));
      channel.queueBind(client.queue(), exchange, "");
      channel.basicQos(1);
      Client.Deliveries ofNamed = new Client.Deliveries(channel);
      Client.Deliveries ofWork = new Client.Deliveries(channel);
      channel.basicConsume(client.queue(), true, ofNamed);
      channel.basicConsume(work, false, "worker", ofWork);
      for (String body : List.of("first", "second")) {
        channel.basicPublish(
            "", work, MessageProperties.MINIMAL_PERSISTENT_BASIC, Client.bytes(body));
      }
      Checks.equal(ofWork.nextText(), "first");
      client.publish(exchange, "", "before");
      Checks.equal(ofNamed.nextText(), "before");

      Recovered recovered = new Recovered(connection);
      Checks.restartBroker();
      recovered.await();
      Checks.equal(recovered.renamed.size(), 1);
      Checks.equal(recovered.renamed.get(0).get(0), client.queue());
      Checks.matches(recovered.renamed.get(0).get(1), "amq\\.gen-[\\w-]{22}");

      client.publish(exchange, "", "after");
      Checks.equal(ofNamed.nextText(), "after");
      // What was not acknowledged comes again, before what had not been delivered.
      var again = ofWork.next();
      Checks.equal(Client.text(again.getBody()), "first");
      Checks.equal(again.getEnvelope().isRedeliver(), true);
      Checks.equal(ofWork.arrived.size(), 0);
      channel.basicAck(again.getEnvelope().getDeliveryTag(), false);
      var second = ofWork.next();
      Checks.equal(Client.text(second.getBody()), "second");
      Checks.equal(second.getEnvelope().isRedeliver(), false);
      channel.basicAck(second.getEnvelope().getDeliveryTag(), false);
      Checks.equal(channel.queueDelete(work).getMessageCount(), 0);
    }
  }

  static void blocked() throws Exception {
    Checks.restartBroker("ALARMS_VM_MEMORY_HIGH_WATERMARK=0");
    Connection connection = Client.connect(factory -> factory.setNetworkRecoveryInterval(100));
    try (Client client = Client.on(connection)) {
      BlockingQueue<String> reasons = new LinkedBlockingQueue<>();
      connection.addBlockedListener(reasons::add, () -> reasons.add("unblocked"));
      client.publish("held");
      Checks.equal(Checks.next(reasons), "low on memory");
      // Who does not publish goes on.
      try (Client other = Client.open()) {
        other.isEmpty();
      }
      Recovered recovered = new Recovered(connection);
      Checks.restartBroker();
      recovered.await();
      client.channel().confirmSelect();
      client.publish("amq.fanout", "", "through");
      client.channel().waitForConfirmsOrDie(Checks.PATIENCE_SECONDS * 1000);
    } finally {
      Checks.restartBroker();
    }
  }

  /** Waits for the recovery of a connection, and keeps the new names of its queues. */
  private static final class Recovered implements RecoveryListener {
    final List<List<String>> renamed = new ArrayList<>();
    private final BlockingQueue<Recoverable> done = new LinkedBlockingQueue<>();

    Recovered(Connection connection) {
      ((RecoverableConnection) connection).addRecoveryListener(this);
      ((AutorecoveringConnection) connection)
          .addQueueRecoveryListener(
              (before, after) -> {
                if (!before.equals(after)) {
                  renamed.add(List.of(before, after));
                }
              });
    }

    void await() throws InterruptedException {
      Checks.next(done);
    }

    @Override
    public void handleRecovery(Recoverable recovered) {
      done.add(recovered);
    }

    @Override
    public void handleRecoveryStarted(Recoverable recoverable) {}
  }

  private Connections() {}
}
