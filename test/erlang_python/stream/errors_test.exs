defmodule ErlangPython.Stream.ErrorsTest do
  # Errors and deadlines of streams, and what an opening leaves for which nobody waits.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestStreams

  alias ErlangPython.Pool.{Directory, Pending, Slots}

  @moduletag :tmp_dir

  describe "an error" do
    test "of Python comes at its element, after the items before it" do
      pool = start(workers: 1)
      test = self()

      error =
        assert_raise Error, fn ->
          ErlangPython.stream_eval("(6 // n for n in (3, 2, 1, 0))", %{}, pool: pool)
          |> Enum.each(&send(test, &1))
        end

      assert %{kind: :python, type: "ZeroDivisionError", executed: :yes} = error
      for n <- [2, 3, 6], do: assert_received(^n)
      assert open_streams(pool) == 0
    end

    test "of the opening is raised when the stream is run" do
      pool = start(workers: 1)
      stream = ErlangPython.stream_eval("17", %{}, pool: pool)
      assert_raise Error, ~r/'int' object is not iterable/, fn -> Enum.to_list(stream) end
      nobody = ErlangPython.stream(:m, :f, [], pool: :no_such_pool)
      assert %{kind: :no_pool} = assert_raise(Error, fn -> Enum.to_list(nobody) end)
    end

    test "of an item without an encoding closes the generator" do
      pool = start(workers: 1)

      error =
        assert_raise Error, fn ->
          ErlangPython.stream_eval("(object() for n in numbers())", %{}, pool: pool)
          |> Enum.to_list()
        end

      assert error.kind == :encode
    end

    @tag wrong: :no_list
    test "in options or names is raised at once", %{wrong: wrong} do
      assert_raise ArgumentError, fn -> ErlangPython.stream(:m, :f, wrong) end
      assert_raise ArgumentError, fn -> ErlangPython.stream(:m, :f, [], tiemout: 1) end
      assert_raise ArgumentError, fn -> ErlangPython.stream_eval(17) end
    end

    test "of the deadline comes with the wait that is too long", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      closed = Path.join(dir, "closed")
      stream = stream(pool, :gated, [started, go, 1, closed], timeout: 200)

      assert %{kind: :timeout, executed: :maybe} =
               assert_raise(Error, fn -> Enum.to_list(stream) end)

      await_file(closed)
      await_whole(pool, 1)
      assert open_streams(pool) == 0
    end
  end

  describe "a stream that cannot be opened in time" do
    test "is not left behind", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      stream = stream(pool, :gated, [started, go], timeout: 200)
      assert %{kind: :timeout} = assert_raise(Error, fn -> Enum.to_list(stream) end)
      await_whole(pool, 1)
      assert open_streams(pool) == 0
    end

    test "is closed if its answer finds that its caller has given up" do
      pool = start(workers: 1)
      open_for(pool, self(), nil)
      assert_left_nothing(pool)
    end

    test "is closed if its answer finds that its caller has died" do
      pool = start(workers: 1)
      open_for(pool, spawn(fn -> :ok end), self())
      assert_left_nothing(pool)
    end
  end

  # Sends an open request as if its caller had gone just before the answer.
  defp open_for(pool, caller, dest) do
    handle = handle(pool)
    id = Slots.next_id(handle)
    options = %ErlangPython.Request.Options{pool: pool}
    message = {:stream_call, "__main__", "numbers", []}
    {:ok, wire} = ErlangPython.Request.Message.encode(message, id, options, 1_000_000)
    {generation, _worker, writer} = Directory.worker(handle, 1)
    Slots.add_beside(handle, 1, 1)
    Pending.insert(handle, {id, dest, :tag, caller, -1, generation, 0, :pinned, nil})
    send(writer, {:tx, wire})
  end

  defp assert_left_nothing(pool) do
    eventually(fn -> assert log(pool) == ["closed"] end)
    await_whole(pool, 1)
    assert open_streams(pool) == 0
  end

  test "a pull that waits behind another request is taken back at its deadline", %{tmp_dir: dir} do
    pool = start(workers: 1)
    stream = stream(pool, :numbers, [], timeout: 500)
    {0, continue} = first(stream)
    call = Task.async(fn -> ErlangPython.exec(gated(), gate(dir), pool: pool) end)
    await_file(gate(dir).started)
    assert %{kind: :timeout} = assert_raise(Error, fn -> continue.({:cont, nil}) end)
    File.touch!(gate(dir).go)
    assert Task.await(call) == :ok
    eventually(fn -> assert log(pool) == ["closed"] end)
    await_whole(pool, 1)
  end
end
