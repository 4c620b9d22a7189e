"""One node of Apache Kafka (KRaft) as a local process, which tests may stop, kill and start again."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.controlled import ControlledServer
from tests.servers.jars import jars
from tests.servers.process import NotStarted, Process, free_ports

POM = Path(__file__).parent / "kafka" / "pom.xml"
_CLUSTER = "cmVsaWdodC10ZXN0cy0wMQ"  # any 16 bytes in base64
_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto")
_SMALL = """
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
auto.create.topics.enable=false
num.partitions=3
offsets.topic.num.partitions=5
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
"""
_LOGIN = "org.apache.kafka.common.security"


class KafkaServer(ControlledServer):
    """A broker with a plain listener and, for users and passwords, one with SASL and one with TLS.

    Whoever comes by the plain or the TLS listener may do everything; the users may nothing but log in. Its data and
    ports last as long as the object's folder: `start` after `stop` or `kill` gives the same broker again.
    """

    def __init__(self, folder: Path, users: Mapping[str, str] | None = None) -> None:
        """Prepare a broker: its configuration, and a formatted folder for its data. `start` starts it.

        Raises:
            NoJars: Java, Maven or the jars cannot be had.
        """
        self._folder = folder
        self._users = dict(users or {})
        self._classpath = f"{jars(POM)}/*"
        plain, controller, sasl, tls = free_ports(4)
        self._port, self._controller = plain, controller
        self.address, self.sasl_address, self.tls_address = (f"localhost:{port}" for port in (plain, sasl, tls))
        if users:
            _make_certificate(folder)
        self._properties.write_text(self._configuration(), encoding="utf-8")
        self._format()

    @property
    def ca_file(self) -> Path:
        """The certificate, in PEM, that the TLS listener's clients have to trust."""
        return self._folder / "ca.pem"

    def start(self) -> None:
        """Start the broker, wait until it answers."""
        assert self._process is None, "it runs"
        self._process = Process(self._java("kafka.Kafka", str(self._properties)), self._folder / "kafka.log")
        self._process.wait_for(self._port)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *_JAVA, "-cp", self._classpath, *arguments]

    def _format(self) -> None:
        scram = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in self._users.items()]
        added = [word for one in scram for word in ("--add-scram", one)]
        command = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(self._properties), *added]
        done = subprocess.run(self._java(*command), capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotStarted(f"Kafka cannot format its folder:\n{done.stdout}{done.stderr}")

    def _configuration(self) -> str:
        listeners = {"PLAIN": self.address, "CONTROLLER": f"localhost:{self._controller}"}
        protocols = "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT"
        if self._users:
            listeners |= {"LOGIN": self.sasl_address, "TLS": self.tls_address}
            protocols += ",LOGIN:SASL_PLAINTEXT,TLS:SSL"
        addresses = {name: f"{name}://{address}" for name, address in listeners.items()}
        advertised = [address for name, address in addresses.items() if name != "CONTROLLER"]
        lines = [
            f"log.dirs={self._folder / 'data'}",
            f"listeners={','.join(addresses.values())}",
            f"advertised.listeners={','.join(advertised)}",
            f"listener.security.protocol.map={protocols}",
            "inter.broker.listener.name=PLAIN",
            f"controller.quorum.voters=1@localhost:{self._controller}",
        ]
        return _SMALL + "\n".join([*lines, *(self._security() if self._users else [])]) + "\n"

    def _security(self) -> list[str]:
        users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
        scram = f"{_LOGIN}.scram.ScramLoginModule required;"
        return [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
            f"listener.name.login.plain.sasl.jaas.config={_LOGIN}.plain.PlainLoginModule required {users};",
            f"listener.name.login.scram-sha-512.sasl.jaas.config={scram}",
            f"ssl.keystore.location={self._folder / 'server.p12'}",
            "ssl.keystore.type=PKCS12",
            f"ssl.keystore.password={_KEY_PASSWORD}",
        ]


_KEY_PASSWORD = "not-a-secret"


def _make_certificate(folder: Path) -> None:
    """Make a key and a certificate for localhost that is its own authority. Java's keytool is there with Java."""
    store = ["-keystore", str(folder / "server.p12"), "-storepass", _KEY_PASSWORD, "-alias", "server"]
    extensions = ("bc:c=ca:true", "san=dns:localhost,ip:127.0.0.1", "ku:c=digitalSignature,keyCertSign")
    said = [word for extension in extensions for word in ("-ext", extension)]
    key = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=localhost", "-validity", "7", *said]
    subprocess.run(["keytool", *key, *store], capture_output=True, check=True)
    subprocess.run(["keytool", "-exportcert", "-rfc", "-file", str(folder / "ca.pem"), *store],
                   capture_output=True, check=True)  # fmt: skip
