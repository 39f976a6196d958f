package org.example;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.servicebroker.exception.ServiceBrokerInvalidParametersException;
import org.springframework.cloud.servicebroker.exception.ServiceInstanceBindingDoesNotExistException;
import org.springframework.cloud.servicebroker.exception.ServiceInstanceDoesNotExistException;
import org.springframework.cloud.servicebroker.model.binding.CreateServiceInstanceAppBindingResponse;
import org.springframework.cloud.servicebroker.model.binding.CreateServiceInstanceBindingRequest;
import org.springframework.cloud.servicebroker.model.binding.CreateServiceInstanceBindingResponse;
import org.springframework.cloud.servicebroker.model.binding.DeleteServiceInstanceBindingRequest;
import org.springframework.cloud.servicebroker.model.binding.DeleteServiceInstanceBindingResponse;
import org.springframework.cloud.servicebroker.model.catalog.Catalog;
import org.springframework.cloud.servicebroker.model.catalog.Plan;
import org.springframework.cloud.servicebroker.model.catalog.ServiceDefinition;
import org.springframework.cloud.servicebroker.model.instance.CreateServiceInstanceRequest;
import org.springframework.cloud.servicebroker.model.instance.CreateServiceInstanceResponse;
import org.springframework.cloud.servicebroker.model.instance.DeleteServiceInstanceRequest;
import org.springframework.cloud.servicebroker.model.instance.DeleteServiceInstanceResponse;
import org.springframework.cloud.servicebroker.model.instance.GetLastServiceOperationRequest;
import org.springframework.cloud.servicebroker.model.instance.GetLastServiceOperationResponse;
import org.springframework.cloud.servicebroker.model.instance.OperationState;
import org.springframework.cloud.servicebroker.model.instance.UpdateServiceInstanceRequest;
import org.springframework.cloud.servicebroker.model.instance.UpdateServiceInstanceResponse;
import org.springframework.cloud.servicebroker.service.ServiceInstanceBindingService;
import org.springframework.cloud.servicebroker.service.ServiceInstanceService;
import org.springframework.context.annotation.Bean;
import org.springframework.stereotype.Service;
import reactor.core.publisher.Mono;

/** A service broker that is written with Spring Cloud Open Service Broker. What it sells is queues, made later. */
@SpringBootApplication
public class Queues {
    public static void main(String[] args) {
        SpringApplication.run(Queues.class, args);
    }

    @Bean
    Catalog catalog() {
        Plan small = Plan.builder().id("spring-small").name("small").description("A small one").free(true).build();
        Plan large = Plan.builder().id("spring-large").name("large").description("A large one").free(true).build();
        return Catalog.builder()
                .serviceDefinitions(ServiceDefinition.builder().id("spring-queue").name("queue")
                        .description("A queue of messages").bindable(true).planUpdateable(true).plans(small, large).build())
                .build();
    }

    /** Keeps queues in memory. */
    @Service
    static class Instances implements ServiceInstanceService {
        private final Set<String> known = ConcurrentHashMap.newKeySet();

        @Override
        public Mono<CreateServiceInstanceResponse> createServiceInstance(CreateServiceInstanceRequest r) {
            if (r.getParameters().containsKey("colour")) {
                return Mono.error(new ServiceBrokerInvalidParametersException("queues have no colour"));
            }
            boolean there = !known.add(r.getServiceInstanceId());
            return Mono.just(CreateServiceInstanceResponse.builder().async(true).operation("make")
                    .instanceExisted(there).dashboardUrl("https://queues.example.org/").build());
        }

        @Override
        public Mono<GetLastServiceOperationResponse> getLastOperation(GetLastServiceOperationRequest r) {
            boolean ends = "end".equals(r.getOperation());
            return Mono.just(GetLastServiceOperationResponse.builder().operationState(OperationState.SUCCEEDED)
                    .description(ends ? "the queue is gone" : "the queue is ready").deleteOperation(ends).build());
        }

        @Override
        public Mono<UpdateServiceInstanceResponse> updateServiceInstance(UpdateServiceInstanceRequest r) {
            return Mono.just(UpdateServiceInstanceResponse.builder().async(false).build());
        }

        @Override
        public Mono<DeleteServiceInstanceResponse> deleteServiceInstance(DeleteServiceInstanceRequest r) {
            if (!known.remove(r.getServiceInstanceId())) {
                return Mono.error(new ServiceInstanceDoesNotExistException(r.getServiceInstanceId()));
            }
            return Mono.just(DeleteServiceInstanceResponse.builder().async(true).operation("end").build());
        }
    }

    /** Gives each binding credentials of its own. */
    @Service
    static class Bindings implements ServiceInstanceBindingService {
        private final Set<String> known = ConcurrentHashMap.newKeySet();

        @Override
        public Mono<CreateServiceInstanceBindingResponse> createServiceInstanceBinding(
                CreateServiceInstanceBindingRequest r) {
            known.add(r.getBindingId());
            return Mono.just(CreateServiceInstanceAppBindingResponse.builder()
                    .credentials(Map.of("uri", "amqp://queue:secret@127.0.0.1:1/" + r.getBindingId())).build());
        }

        @Override
        public Mono<DeleteServiceInstanceBindingResponse> deleteServiceInstanceBinding(
                DeleteServiceInstanceBindingRequest r) {
            if (!known.remove(r.getBindingId())) {
                return Mono.error(new ServiceInstanceBindingDoesNotExistException(r.getBindingId()));
            }
            return Mono.just(DeleteServiceInstanceBindingResponse.builder().async(false).build());
        }
    }
}
