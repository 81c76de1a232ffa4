/** The method on whose account the broker closes something, by its ids. */
enum Cause {
  NONE(0, 0),
  CONNECTION_OPEN(10, 40),
  CHANNEL_FLOW(20, 20),
  EXCHANGE_DECLARE(40, 10),
  EXCHANGE_DELETE(40, 20),
  EXCHANGE_BIND(40, 30),
  QUEUE_DECLARE(50, 10),
  QUEUE_BIND(50, 20),
  QUEUE_PURGE(50, 30),
  QUEUE_DELETE(50, 40),
  QOS(60, 10),
  CONSUME(60, 20),
  PUBLISH(60, 40),
  GET(60, 70),
  ACK(60, 80),
  RECOVER(60, 110),
  NACK(60, 120),
  CONFIRM_SELECT(85, 10);

  final int classId;
  final int methodId;

  Cause(int classId, int methodId) {
    this.classId = classId;
    this.methodId = methodId;
  }
}
