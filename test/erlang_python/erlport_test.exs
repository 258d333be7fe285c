defmodule ErlangPython.ErlPortTest do
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureIO
  import ExUnit.CaptureLog

  alias ErlangPython.{ErlPort, TestPython}

  @fixtures Path.expand("../fixtures/erlport", __DIR__)
  @erlang Path.expand("../erlang/erlport_user_tests.erl", __DIR__)

  defp start(options \\ []) do
    defaults = [python: TestPython.executable(), python_path: @fixtures]
    {:ok, instance} = ErlPort.start_link(Keyword.merge(defaults, options))
    on_exit(fn -> stop(instance) end)
    Process.unlink(instance)
    instance
  end

  defp stop(instance) do
    ErlPort.stop(instance)
  catch
    :exit, _ended_already -> :ok
  end

  defp call(instance, function, args \\ []),
    do: ErlPort.call(instance, :erlport_user, function, args)

  test "code that is written for ErlPort runs" do
    System.put_env(%{
      "ERLPORT_USER" => @fixtures,
      "ERLPORT_USER_PYTHON" => TestPython.executable()
    })

    options = [:binary, :return_errors, :export_all, :nowarn_export_all]
    {:ok, module, binary} = @erlang |> String.to_charlist() |> :compile.file(options)
    {:module, ^module} = :code.load_binary(module, String.to_charlist(@erlang), binary)

    tests = for {name, 0} <- module.module_info(:exports), name not in [:start, :test], do: name
    tests = Enum.filter(tests, &String.ends_with?(Atom.to_string(&1), "_test"))
    assert length(tests) == 10

    assert capture_io(fn -> for test <- tests, do: apply(module, test, []) end) =~
             "b'Hello, World!'"
  end

  describe "values" do
    setup do: %{instance: start()}

    test "come back as they went", %{instance: instance} do
      for value <- [
            nil,
            :undefined,
            true,
            :ok,
            :Größe,
            "binary",
            <<255>>,
            ~c"string",
            [],
            [1 | 2],
            [1, [2], {3} | :tail],
            {},
            {1, {2.5}},
            %{:a => 1, "b" => [], {1} => %{}},
            ~D[2024-02-29],
            self(),
            make_ref(),
            &is_list/1,
            0xFFFF_FFFF_FFFF_FFFF,
            2 ** 200,
            -(2 ** 70),
            String.duplicate("x", 200_000),
            List.duplicate(1.5, 20_000),
            {:"$erlport.opaque", :python, "made up"},
            {:"$erlport.opaque", :python, :erlang.term_to_binary(1)}
          ] do
        result = call(instance, :echo, [value])
        expected = if is_struct(value), do: Map.new(Map.to_list(value)), else: value
        assert result === expected
      end
    end

    test "have ErlPort's types in Python", %{instance: instance} do
      for {value, type, text} <- [
            {nil, ~c"Atom", "Atom(b'nil')"},
            {:undefined, ~c"NoneType", "None"},
            {false, ~c"bool", "False"},
            {"text", ~c"bytes", "b'text'"},
            {~c"text", ~c"List", "[116, 101, 120, 116]"},
            {[1 | 2], ~c"ImproperList", "ImproperList([1], 2)"},
            {{1, :a}, ~c"tuple", "(1, Atom(b'a'))"},
            {%{a: "b"}, ~c"Map", "{Atom(b'a'): b'b'}"}
          ],
          do: assert(call(instance, :kind, [value]) == {type, text})
    end

    test "of Python's own types", %{instance: instance} do
      assert call(instance, :values) ==
               [~c"café", %{~c"a" => 1}, {:undefined, true}, "x", [1, 2 ** 80], :ok]
    end

    test "of types that Erlang lacks can be handed back, and to another instance", %{
      instance: instance
    } do
      assert {:"$erlport.opaque", :python, _data} =
               day = ErlPort.call(instance, :datetime, :timedelta, [1])

      assert ErlPort.call(instance, :builtins, :str, [day]) == ~c"1 day, 0:00:00"
      assert ErlPort.call(start(), :builtins, :str, [{day}]) == ~c"(datetime.timedelta(days=1),)"

      error = catch_error(call(instance, :unpicklable))
      assert {:python, :"builtins.TypeError", message, _frames} = error
      assert to_string(message) =~ "set an encoder"
    end

    test "make no new atoms", %{instance: instance} do
      name = "no_atom_#{System.unique_integer([:positive])}_of_this_name"
      assert ErlPort.call(instance, :"erlport.erlterms", :Atom, [name]) == name
    end

    test "without a form in Python are refused", %{instance: instance} do
      for value <- [<<1::3>>, %{[] => 1}, %{%{} => 1}, :""] do
        assert %Error{kind: :encode} = catch_error(call(instance, :echo, [value]))
        assert %Error{kind: :encode} = catch_error(ErlPort.cast(instance, value))
      end

      # Sent, there is nobody to tell.
      assert capture_log(fn ->
               send(instance, <<1::3>>)
               assert call(instance, :echo, [1]) == 1
             end) =~ "a bitstring of 3 bits"
    end
  end

  describe "Erlang's functions from Python" do
    setup do: %{instance: start()}

    test "any that is exported", %{instance: instance} do
      assert ErlPort.call(instance, :"erlport.erlang", :call, [:lists, :reverse, [~c"abc"]]) ==
               ~c"cba"

      assert call(instance, :who_am_i) == instance
      assert is_reference(call(instance, :reference))
    end

    test "fail", %{instance: instance} do
      assert call(instance, :caught, [:erlang, :throw, [:it]]) == {~c"throw", :it}

      assert {~c"error", message} = call(instance, :caught, [:lists, :no_function, []])
      assert to_string(message) =~ ":lists.no_function/0 is undefined"

      assert {:python, :"erlang.ElixirError", message, _frames} =
               catch_error(
                 ErlPort.call(instance, :"erlport.erlang", :call, [:erlang, :length, [1]])
               )

      assert to_string(message) =~ "not a list"

      assert {:python, :"builtins.TypeError", message, _frames} =
               catch_error(
                 ErlPort.call(instance, :"erlport.erlang", :call, ["lists", :reverse, []])
               )

      assert to_string(message) =~ "such as Atom(b'lists')"
    end

    test "may call the instance, in the thread that waits, and from tasks", %{instance: instance} do
      nested = [instance, :operator, :add, [1, 2]]

      assert ErlPort.call(instance, :"erlport.erlang", :call, [ErlPort, :call, nested]) == 3

      assert ErlPort.call(instance, :"erlport.erlang", :call, [__MODULE__, :in_task, nested]) == 3
    end
  end

  def in_task(instance, module, function, args),
    do: Task.await(Task.async(fn -> ErlPort.call(instance, module, function, args) end))

  describe "ends" do
    test "a message handler that raises ends the instance" do
      instance = start()
      monitor = Process.monitor(instance)
      call(instance, :fail_on_message)
      ErlPort.cast(instance, :message)

      assert_receive {:DOWN, ^monitor, :process, ^instance, {:message_handler_error, error}}
      assert {:python, :"builtins.ValueError", ~c"b'message'", [frame]} = error
      assert {_file, _line, "fail", "raise ValueError(message)"} = frame
    end

    test "so does the death of Python, of which its callers hear" do
      instance = start()
      monitor = Process.monitor(instance)
      os_pid = ErlPort.call(instance, :os, :getpid, [])

      exit = catch_exit(ErlPort.call(instance, :os, :_exit, [3]))

      assert {{:python_exited, %{status: 3}}, {ErlPort, :call, [_instance, :os, :_exit, [3]]}} =
               exit

      assert_receive {:DOWN, ^monitor, :process, ^instance, {:python_exited, %{status: 3}}}
      assert {:noproc, _call} = catch_exit(ErlPort.call(instance, :os, :getpid, []))
      eventually(fn -> refute os_process?(os_pid) end)
    end

    test "Python ends with the instance, however that ends" do
      for stop <- [&ErlPort.stop/1, &Process.exit(&1, :kill)] do
        instance = start()
        os_pid = ErlPort.call(instance, :os, :getpid, [])
        stop.(instance)
        eventually(fn -> refute os_process?(os_pid) end)
      end
    end

    test "a linked instance ends with its starter, another does not" do
      test = self()

      starter =
        spawn(fn ->
          options = [python: TestPython.executable()]
          {:ok, linked} = ErlPort.start_link(options)
          {:ok, other} = ErlPort.start(options)
          send(test, {linked, other})
          receive do: (:end -> exit(:shutdown))
        end)

      assert_receive {linked, other}
      monitor = Process.monitor(linked)
      send(starter, :end)
      assert_receive {:DOWN, ^monitor, :process, ^linked, :shutdown}
      assert ErlPort.call(other, :operator, :neg, [1]) == -1
      ErlPort.stop(other)
    end

    test "stopping it ends what it runs" do
      instance = start()
      arguments = [__MODULE__, :tell_and_stay, [self()]]

      waiting =
        Task.async(fn ->
          catch_exit(ErlPort.call(instance, :"erlport.erlang", :call, arguments))
        end)

      assert_receive {:runs, callback}
      monitor = Process.monitor(callback)
      assert ErlPort.stop(instance) == :ok
      assert {:normal, {ErlPort, :call, _arguments}} = Task.await(waiting)
      assert_receive {:DOWN, ^monitor, :process, ^callback, _reason}
    end
  end

  def tell_and_stay(test) do
    send(test, {:runs, self()})
    receive do: (:never -> :ok)
  end

  describe "options" do
    @tag :tmp_dir
    test "paths, folder, variables", %{tmp_dir: dir} do
      for name <- ~w(one two here),
          do:
            dir |> Path.join(name) |> tap(&File.mkdir_p!/1) |> Path.join("#{name}.py") |> touch()

      [one, two, here] = for name <- ~w(one two here), do: Path.join(dir, name)
      env = [{~c"A", ~c"b"}, {"HOME", false}]
      # A relative one belongs to :cd.
      paths = ~c"../one:#{two}:#{@fixtures}"
      instance = start(python_path: paths, cd: to_charlist(here), env: env)

      for name <- ~w(one two here), do: assert(call(instance, :found, [name]))
      assert ErlPort.call(instance, :os, :getcwd, []) == to_charlist(here)
      assert ErlPort.call(instance, :os, :getenvb, ["A"]) == "b"
      assert ErlPort.call(instance, :os, :getenvb, ["HOME"]) == :undefined

      instance = start(python_path: [~c"#{one}", "#{two}:#{@fixtures}"])
      for name <- ~w(one two), do: assert(call(instance, :found, [name]))
      refute call(instance, :found, ["here"])
    end

    defp touch(path), do: File.write!(path, "")

    test "a default for the timeout of calls" do
      instance = start(call_timeout: 50)
      assert catch_error(ErlPort.call(instance, :time, :sleep, [60])) == :timeout
      assert ErlPort.call(instance, :time, :sleep, [0.1], timeout: :infinity) == :undefined
    end

    test "an environment is a Python too" do
      assert {:error, {:invalid_option, _options, message}} = ErlPort.start(python: {:conda, "x"})
      assert message =~ "expected :python to be"
    end

    test "that are none" do
      for option <- [
            {:pyton, "python3"},
            {:python_path, []},
            {:python_path, [1.5]},
            {:python_path, [[:a]]},
            {:cd, :here},
            {:env, [{"A", 1}]},
            {:env, [:a]},
            {:call_timeout, 0},
            {:start_timeout, :never},
            {:packet, 3},
            {:compressed, 10},
            :something
          ] do
        assert {:error, {:invalid_option, ^option, text}} = ErlPort.start([option])
        assert is_binary(text)
      end

      assert {:error, {:invalid_option, :none, _text}} = ErlPort.start(:none)
    end

    test "a Python that is not there" do
      assert {:error, %Error{kind: :environment}} = ErlPort.start(python: "/no/such/python")
    end

    test "a call that makes no sense" do
      instance = start()
      assert_raise ArgumentError, fn -> ErlPort.call(instance, :os, :getpid, :none) end
      assert_raise ArgumentError, fn -> ErlPort.call(instance, :os, 1, []) end
      assert_raise ArgumentError, fn -> ErlPort.call(instance, :os, :getpid, [], [:async]) end
      assert_raise ArgumentError, fn -> ErlPort.call(instance, :os, :getpid, [], timeout: 0) end
    end

    test "names of every kind" do
      for {name, instance} <- [
            {:erlport_test_local, :erlport_test_local},
            {{:local, :erlport_test_tagged}, :erlport_test_tagged},
            {{:global, :erlport_test}, {:global, :erlport_test}}
          ] do
        {:ok, pid} = ErlPort.start(name, python: TestPython.executable())
        assert ErlPort.call(instance, :operator, :neg, [1]) == -1
        assert ErlPort.cast(name, :ignored) == :ok
        assert ErlPort.start(name, []) == {:error, {:already_started, pid}}
        assert ErlPort.stop(name) == :ok
      end
    end
  end

  describe "the package" do
    @tag :tmp_dir
    test "wins in an instance over one that the environment has", %{tmp_dir: dir} do
      File.mkdir_p!(Path.join(dir, "erlport"))
      File.write!(Path.join(dir, "erlport/__init__.py"), "print 'Python 2'")
      instance = start(python_path: [dir, @fixtures])
      assert call(instance, :who_am_i) == instance

      # In other workers the environment has what it has.
      pool = start_pool(workers: 1, paths: [dir])

      assert {:error, %Error{type: "SyntaxError"}} =
               ErlangPython.exec("import erlport", %{}, pool: pool)
    end

    test "is not there in other workers" do
      pool = start_pool(workers: 1)

      assert {:error, %Error{type: "ModuleNotFoundError"}} =
               ErlangPython.exec("import erlport", %{}, pool: pool)
    end
  end
end
