ExUnit.start(assert_receive_timeout: 5_000, refute_receive_timeout: 50)
