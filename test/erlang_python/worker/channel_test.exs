defmodule ErlangPython.Worker.ChannelTest do
  # Who may be a worker's connection: everyone else is refused, which is logged once, and the pool serves on.
  # Not async: log lines are counted, and others' would be among them.
  use ErlangPython.PoolCase, async: false

  import ErlangPython.ZMTPRawPeer, only: [join: 2, read_to_end: 1]

  alias ErlangPython.LogEvents

  setup do
    pool = start_pool(workers: 1)
    children = pool |> ErlangPython.Pool.Supervisor.whereis() |> Supervisor.which_children()
    {_id, router, _type, _modules} = List.keyfind(children, Router, 0)
    LogEvents.forward()
    %{pool: pool, router: router, token: token(pool)}
  end

  defp token(pool) do
    [[token]] = :ets.match(handle(pool).directory, {{:token, :"$1"}, :_})
    token
  end

  # By a peer that is this OS process.
  defp assert_refused(routing_id, reason, context) do
    socket = join(context.router, %{"Socket-Type" => "DEALER", "Identity" => routing_id})
    refute read_to_end(socket) =~ "READY"
    assert_receive {:logged, :warning, "a ZMTP peer was refused: " <> ^reason}
    # Behind it there would be another line of it.
    assert ErlangPython.call(:math, :sqrt, [16], pool: context.pool) == {:ok, 4.0}
    refute_received {:logged, _level, _text}
  end

  test "a wrong token", context do
    reason = "no worker was started with this token"

    for wrong <- ["wrong", String.duplicate("a", 32), String.upcase(context.token)],
        do: assert_refused(wrong, reason, context)
  end

  test "a token that is used, or was", %{pool: pool, token: token} = context do
    for channel <- ["", "/control"],
        do: assert_refused(token <> channel, "its routing id is in use", context)

    assert Pool.restart(pool) == :ok
    assert token(pool) != token

    for channel <- ["", "/control", "/t1", "/c1"],
        do: assert_refused(token <> channel, "no worker was started with this token", context)
  end

  test("a channel that there is not", %{token: token} = context,
    do: assert_refused(token <> "/x", "no worker was started with this token", context)
  )

  if match?({:unix, :linux}, :os.type()) do
    test "the right token, from another process", %{token: token} = context do
      reason = "OS process #{System.pid()} is not the worker"
      for channel <- ["/t1", "/a1"], do: assert_refused(token <> channel, reason, context)
      reason = "OS process #{System.pid()} is not of the worker's process group"
      assert_refused(token <> "/c1", reason, context)
    end
  end
end
