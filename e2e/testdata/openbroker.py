"""A service broker that is written with openbrokerapi: openbroker.py PORT. What it sells is queues, made later."""

import logging
import sys

from flask import Flask
from openbrokerapi import api, errors
from openbrokerapi.catalog import ServiceMetadata, ServicePlan
from openbrokerapi.service_broker import (
    Binding, BindState, DeprovisionServiceSpec, GetInstanceDetailsSpec, LastOperation, OperationState,
    ProvisionedServiceSpec, ProvisionState, Service, ServiceBroker, SharedDevice, UnbindSpec, UpdateServiceSpec,
    VolumeMount,
)


class Queues(ServiceBroker):
    """Keeps queues in memory. Each is in progress the first time that anybody asks."""

    def __init__(self):
        self.instances, self.bindings, self.asked = {}, {}, set()

    def catalog(self):
        return Service(
            id="3f1c36f0-32a5-4d8c-8f8a-a1a0a0a0a001", name="queue", description="A queue of messages", bindable=True,
            plan_updateable=True, instances_retrievable=True, requires=["syslog_drain", "volume_mount"], tags=["queue"],
            metadata=ServiceMetadata(displayName="Queues", shareable=True),
            plans=[
                ServicePlan(id="3f1c36f0-32a5-4d8c-8f8a-a1a0a0a0a002", name="small", description="A small one", free=True),
                ServicePlan(id="3f1c36f0-32a5-4d8c-8f8a-a1a0a0a0a003", name="large", description="A large one", free=True),
            ],
        )

    def provision(self, instance_id, details, async_allowed, **kwargs):
        if not async_allowed:
            raise errors.ErrAsyncRequired()
        if (details.parameters or {}).get("colour"):
            raise errors.ErrInvalidParameters("queues have no colour")
        known = self.instances.get(instance_id)
        if known:
            return ProvisionedServiceSpec(state=ProvisionState.IDENTICAL_ALREADY_EXISTS)
        self.instances[instance_id] = {"plan": details.plan_id, "parameters": details.parameters or {}}
        return ProvisionedServiceSpec(
            state=ProvisionState.IS_ASYNC, operation="make/" + instance_id,
            dashboard_url="https://queues.example.org/" + instance_id,
        )

    def last_operation(self, instance_id, operation_data, service_id=None, plan_id=None, **kwargs):
        if operation_data in self.asked:
            if operation_data.startswith("end/"):
                self.instances.pop(instance_id, None)
            return LastOperation(OperationState.SUCCEEDED, "the queue is ready")
        self.asked.add(operation_data)
        return LastOperation(OperationState.IN_PROGRESS, "the queue is being made")

    def get_instance(self, instance_id, **kwargs):
        known = self.instances.get(instance_id)
        if not known:
            raise errors.ErrInstanceDoesNotExist()
        return GetInstanceDetailsSpec(
            service_id=self.catalog().id, plan_id=known["plan"], parameters=known["parameters"]
        )

    def update(self, instance_id, details, async_allowed, **kwargs):
        known = self.instances[instance_id]
        known["plan"] = details.plan_id or known["plan"]
        known["parameters"].update(details.parameters or {})
        return UpdateServiceSpec(is_async=False)

    def bind(self, instance_id, binding_id, details, async_allowed, **kwargs):
        if instance_id not in self.instances:
            raise errors.ErrBindingDoesNotExist()
        self.bindings[binding_id] = instance_id
        device = SharedDevice(volume_id=instance_id, mount_config={"depth": 3})
        return Binding(
            state=BindState.SUCCESSFUL_BOUND, credentials={"uri": "amqp://queue:secret@127.0.0.1:1/" + binding_id},
            syslog_drain_url="syslog://logs.example.org:514",
            volume_mounts=[VolumeMount("nfs", "/data", "rw", "shared", device)],
        )

    def unbind(self, instance_id, binding_id, details, async_allowed, **kwargs):
        if self.bindings.pop(binding_id, None) is None:
            raise errors.ErrBindingDoesNotExist()
        return UnbindSpec(is_async=False)

    def deprovision(self, instance_id, details, async_allowed, **kwargs):
        if instance_id not in self.instances:
            raise errors.ErrInstanceDoesNotExist()
        return DeprovisionServiceSpec(is_async=True, operation="end/" + instance_id)


app = Flask(__name__)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
app.register_blueprint(
    api.get_blueprint(Queues(), api.BrokerCredentials("platform", "a-broker's-password"), logging.getLogger("queues"))
)
app.run("127.0.0.1", int(sys.argv[1]))
