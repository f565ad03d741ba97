"""An independent client: made from the .proto files alone, it shares no code with Loadline.

Publishes billing events and delivery receipts straight to NATS, some of them twice, computes what they add up to by itself, and
compares that with what GetUsage and GetDelivery answer over gRPC. Prints what it compared; exits 1 on the first difference.

    python independent_client.py --nats nats://127.0.0.1:4222 --query 127.0.0.1:7402 [--events 2000] [--seed 7]
"""

import argparse
import asyncio
import collections
import importlib
import pathlib
import random
import sys
import tempfile
import time
import uuid

import grpc
import nats
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def contracts(folder):
    """Generates the Python modules of all contracts into `folder`, and returns those used here."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("loadline/**/*.proto"))
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    command = ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]
    if protoc.main(command) != 0:
        sys.exit("the contracts do not compile")
    sys.path.insert(0, folder)
    names = ["event.v1.event_pb2", "query.v1.usage_service_pb2", "query.v1.usage_service_pb2_grpc"]
    return [importlib.import_module(f"loadline.{name}") for name in names]


def at(seconds):
    stamp = Timestamp()
    stamp.FromMicroseconds(int(seconds * 1_000_000))
    return stamp


class Workload:
    """Events of one account, and what they must add up to."""

    def __init__(self, event_pb2, events, seed):
        self.random = random.Random(seed)
        self.pb = event_pb2
        self.account = f"python-{self.random.getrandbits(48):012x}"
        self.payloads = []
        self.usage = collections.defaultdict(lambda: [0, 0, 0, 0])
        self.receipts = collections.Counter()
        self.hour = int(time.time() // 3600 - 3) * 3600
        for index in range(events):
            self.charge(index)

    def charge(self, index):
        event_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4)) if index % 3 else f"text-id-{index}"
        when = self.hour + self.random.random() * 7200
        currency = self.random.choice(["EUR", "USD"])
        messages = self.random.randint(1, 3)
        segments = messages + self.random.randint(0, 2)
        amount = self.random.randint(0, 90_000)
        channel = self.random.choice([self.pb.CHANNEL_SMS, self.pb.CHANNEL_WHATSAPP])
        billing = self.pb.BillingEvent(
            event_id=event_id, account=self.account, occurred_at=at(when), channel=channel, country="DE",
            currency=currency, messages=messages, segments=segments, amount_micros=amount)
        self.publish("billing", self.pb.Event(billing=billing))
        sums = self.usage[currency]
        for column, value in enumerate([1, messages, segments, amount]):
            sums[column] += value
        status = self.random.choice([self.pb.DELIVERY_STATUS_DELIVERED] * 9 + [self.pb.DELIVERY_STATUS_EXPIRED])
        receipt = self.pb.DeliveryReceipt(
            message_id=event_id, account=self.account, submitted_at=at(when), reported_at=at(when + 4),
            channel=channel, country="DE", status=status)
        self.publish("dlr", self.pb.Event(receipt=receipt))
        self.receipts[status] += 1

    def publish(self, subject, event):
        copies = 2 if self.random.random() < 0.1 else 1
        self.payloads += [(f"{subject}.{self.account}", event.SerializeToString())] * copies


async def send(url, payloads):
    client = await nats.connect(url)
    stream = client.jetstream()
    for start in range(0, len(payloads), 200):
        await asyncio.gather(*(stream.publish(subject, payload) for subject, payload in payloads[start:start + 200]))
    await client.close()


def ask(arguments, workload, query_pb2, query_grpc):
    """Usage and delivery, once everything sent is counted."""
    channel = grpc.insecure_channel(arguments.query)
    service = query_grpc.UsageServiceStub(channel)
    span = {"account": workload.account, "from": at(workload.hour), "to": at(workload.hour + 3 * 3600)}
    expected = sum(sums[0] for sums in workload.usage.values()) + sum(workload.receipts.values())
    deadline = time.time() + 60
    while True:
        usage = service.GetUsage(query_pb2.GetUsageRequest(**span), timeout=10)
        if sum(total.events for total in usage.totals) >= expected or time.time() > deadline:
            return usage, service.GetDelivery(query_pb2.GetDeliveryRequest(**span), timeout=10)
        time.sleep(0.2)


def compare(what, expected, answered):
    print(f"{what:<28} computed {expected!s:<40} answered {answered}")
    if expected != answered:
        sys.exit(f"{what} differs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        event_pb2, query_pb2, query_grpc = contracts(folder)
        workload = Workload(event_pb2, arguments.events, arguments.seed)
        asyncio.run(send(arguments.nats, workload.payloads))
        print(f"published {len(workload.payloads)} records, repeats included, for {workload.account}")
        usage, delivery = ask(arguments, workload, query_pb2, query_grpc)
    totals = {total.currency: total for total in usage.totals}
    for currency, sums in sorted(workload.usage.items()):
        total = totals[currency]
        compare(f"{currency} events, messages, …", sums, [total.events, total.messages, total.segments, total.amount_micros])
    receipts = delivery.total.receipts
    pb = workload.pb
    compare("delivered", workload.receipts[pb.DELIVERY_STATUS_DELIVERED], receipts.delivered)
    compare("expired", workload.receipts[pb.DELIVERY_STATUS_EXPIRED], receipts.expired)
    rate = workload.receipts[pb.DELIVERY_STATUS_DELIVERED] / sum(workload.receipts.values())
    compare("delivery rate", round(rate, 9), round(delivery.total.delivery_rate, 9))
    compare("periods pending", 0, sum(period.state == query_pb2.Period.STATE_PENDING for period in usage.periods))
    print("all equal")


if __name__ == "__main__":
    main()
