import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What the kinds of queue do with a message: dead letters, priorities, quorum queues, streams. */
final class Kinds {
  /** Spring reads these, each with the type the client makes of it. */
  static void deadLetters() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      Map<String, Object> arguments =
          Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", client.queue());
      String queue = channel.queueDeclare("", false, true, false, arguments).getQueue();
      AMQP.BasicProperties expiring =
          new AMQP.BasicProperties.Builder().expiration("60000").build();
      channel.basicPublish("", queue, expiring, Client.bytes("x"));
      GetResponse message = channel.basicGet(queue, false);
      channel.basicReject(message.getEnvelope().getDeliveryTag(), false);
      AMQP.BasicProperties dead = client.consume(true).next().getProperties();
      Checks.equal(dead.getExpiration(), null);
      Map<String, Object> headers = new HashMap<>(dead.getHeaders());
      List<?> deaths = (List<?>) headers.remove("x-death");
      Checks.equal(deaths.size(), 1);
      Map<Object, Object> death = new HashMap<>((Map<?, ?>) Messages.plain(deaths.get(0)));
      Checks.equal(death.remove("time") instanceof Date, true);
      Checks.equal(
          death,
          Map.of(
              "count",
              1L,
              "reason",
              "rejected",
              "queue",
              queue,
              "exchange",
              "",
              "routing-keys",
              List.of(queue),
              "original-expiration",
              "60000"));
      Checks.equal(
          Messages.plain(headers),
          Map.of(
              "x-first-death-queue", queue,
              "x-first-death-reason", "rejected",
              "x-first-death-exchange", "",
              "x-last-death-queue", queue,
              "x-last-death-reason", "rejected",
              "x-last-death-exchange", ""));
    }
  }

  static void priorities() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      Map<String, Object> arguments = Map.of("x-max-priority", 9);
      String queue = channel.queueDeclare("", false, true, false, arguments).getQueue();
      for (int priority : new int[] {1, 9, 5, 0}) {
        AMQP.BasicProperties properties =
            new AMQP.BasicProperties.Builder().priority(priority).build();
        channel.basicPublish("", queue, properties, new byte[0]);
      }
      for (int priority : new int[] {9, 5, 1, 0}) {
        Checks.equal(channel.basicGet(queue, true).getProps().getPriority(), priority);
      }
    }
  }

  static void singleActiveConsumer() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      Map<String, Object> arguments = Map.of("x-single-active-consumer", true);
      String queue = channel.queueDeclare("", false, true, false, arguments).getQueue();
      Channel other = client.connection().createChannel();
      Client.Deliveries active = new Client.Deliveries(other);
      Client.Deliveries waiting = new Client.Deliveries(channel);
      other.basicConsume(queue, false, active);
      channel.basicConsume(queue, true, waiting);
      channel.basicPublish("", queue, null, Client.bytes("x"));
      Checks.equal(active.nextText(), "x");
      Checks.equal(waiting.arrived.size(), 0);
      other.close();
      Checks.equal(waiting.next().getEnvelope().isRedeliver(), true);
    }
  }

  static void quorumQueues() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      String name = Checks.unique("quorum");
      channel.queueDeclare(
          name,
          true,
          false,
          false,
          Map.of(
              "x-queue-type",
              "quorum",
              "x-delivery-limit",
              2,
              "x-dead-letter-exchange",
              "",
              "x-dead-letter-routing-key",
              client.queue()));
      channel.confirmSelect();
      client.publish("", name, "poison");
      channel.waitForConfirmsOrDie(Checks.PATIENCE_SECONDS * 1000);
      Client.Deliveries deliveries = new Client.Deliveries(channel);
      channel.basicConsume(name, false, deliveries);
      for (Long count : new Long[] {null, 1L, 2L}) {
        Delivery delivery = deliveries.next();
        Map<String, Object> headers = delivery.getProperties().getHeaders();
        Checks.equal(headers == null ? null : headers.get("x-delivery-count"), count);
        Checks.equal(delivery.getEnvelope().isRedeliver(), count != null);
        channel.basicNack(delivery.getEnvelope().getDeliveryTag(), false, true);
      }
      Delivery dead = client.consume(true).next();
      List<?> deaths = (List<?>) dead.getProperties().getHeaders().get("x-death");
      Map<?, ?> death = (Map<?, ?>) deaths.get(0);
      Checks.equal(death.get("reason").toString(), "delivery_limit");
      Checks.equal(deliveries.arrived.size(), 0);
      channel.queueDelete(name);
      Checks.equal(Checks.next(deliveries.cancelled), deliveries.getConsumerTag());
    }
  }

  static void streams() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      String name = Checks.unique("stream");
      channel.queueDeclare(name, true, false, false, Map.of("x-queue-type", "stream"));
      channel.confirmSelect();
      for (int number = 0; number < 50; number++) {
        client.publish("", name, String.valueOf(number));
      }
      channel.waitForConfirmsOrDie(Checks.PATIENCE_SECONDS * 1000);
      Date past = new Date(System.currentTimeMillis() - 3_600_000);
      for (Object offset : new Object[] {"first", 40, 45L, past, "1h"}) {
        Channel reader = client.connection().createChannel();
        reader.basicQos(10);
        Client.Deliveries deliveries = new Client.Deliveries(reader);
        reader.basicConsume(name, false, Map.of("x-stream-offset", offset), deliveries);
        long first = offset instanceof Number number ? number.longValue() : 0;
        for (long number = first; number < 50; number++) {
          Delivery delivery = deliveries.next();
          Checks.equal(Client.text(delivery.getBody()), String.valueOf(number));
          Checks.equal(delivery.getProperties().getHeaders(), Map.of("x-stream-offset", number));
          Checks.equal(delivery.getEnvelope().isRedeliver(), false);
          reader.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        }
        reader.close();
      }
      Topology.refused(
          client,
          406,
          "PRECONDITION_FAILED - consumer prefetch count is not set for stream queue '"
              + name
              + "' in vhost '/'",
          Cause.CONSUME,
          ch -> ch.basicConsume(name, new Client.Deliveries(ch)));
      channel.queueDelete(name);
    }
  }

  private Kinds() {}
}
